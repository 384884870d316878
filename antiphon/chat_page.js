"use strict";
const $ = (id) => document.getElementById(id);
const form = $("ask");
const top_ = Number(form.dataset.top);
let latest = 0; // answers to earlier questions are passed over

const VERDICTS = {
  answered: "The reasoner answered in time: its query has a part in every score.",
  late: "The reasoner was late. The ranker answered without its query.",
  down: "The reasoner cannot be reached. The ranker answered without its query.",
  refused: "The reasoner refused: it serves another model than this ranker was trained with. The ranker answered without a query.",
  malformed: "The reasoner's answer was no vector that this ranker reads. The ranker answered without a query.",
  rested: "The reasoner failed several times in a row and is left alone for a moment. The ranker answered without its query.",
  nobody: "No reasoner is asked. The ranker answered by what is known of the user alone.",
};
const UNWRITTEN = {
  late: "It took too long to write the query out.",
  down: "The query could not be written out: the reasoner cannot be reached.",
  refused: "This reasoner does not write queries out.",
  malformed: "What the reasoner wrote could not be read.",
};
const FAILURES = {
  429: "The server answers as many requests as it may. Try again in a moment.",
  503: "The ranker cannot be reached.",
  504: "The ranker did not answer within its deadline. Try again.",
};

const number = (value) => value.toFixed(3).replace("-", "−");

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** A bar from the middle, which is 0, to the left or right; the ends are −1 and 1. */
function bar(value, kind) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 100 8");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "bar");
  svg.setAttribute("aria-hidden", "true");
  const width = Math.min(Math.abs(value), 1) * 50;
  const rect = document.createElementNS(space, "rect");
  for (const [name, at] of Object.entries({ x: value < 0 ? 50 - width : 50, y: 1, width, height: 6, class: kind }))
    rect.setAttribute(name, at);
  const middle = document.createElementNS(space, "path");
  middle.setAttribute("d", "M50 0V8");
  svg.append(rect, middle);
  return svg;
}

function card(intent, weights, place) {
  const item = element("li");
  const parts = { user: weights.user_intent * intent.user_intent, query: weights.intent_query * intent.intent_query };
  const list = element("dl");
  for (const [kind, weight, cosine] of [
    ["user", weights.user_intent, intent.user_intent],
    ["query", weights.intent_query, intent.intent_query],
  ])
    list.append(element("dt", kind), bar(parts[kind], kind), element("dd", `${weight} × ${number(cosine)} = ${number(parts[kind])}`));
  list.append(element("dt", "score"), element("dd", number(parts.user + parts.query), "sum"));
  item.append(element("h3", `${place}. ${intent.title}`), list);
  item.dataset.intent = intent.intent;
  return item;
}

async function ask(path, asked) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked) });
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(FAILURES[answer.status] || `${told.error || "The server failed"}.`);
  return told;
}

function show(found) {
  $("context").textContent = found.context || "Nothing is known of this user.";
  $("since").textContent = `As of the user's newest session, ${found.known_since.slice(0, 16).replace("T", " ")} UTC.`;
  $("verdict").textContent = VERDICTS[found.query] || found.query;
  $("verdict").dataset.outcome = found.query;
  $("query").textContent = "";
  $("wrote").hidden = true;
  $("intents").replaceChildren(...found.intents.map((intent, n) => card(intent, found.weights, n + 1)));
  $("answer").hidden = false;
  $("status").textContent = `Answered in ${found.milliseconds.toFixed(0)} ms by ${found.ranker.model}, version ${found.ranker.version}.`;
}

async function write(asked, mine) {
  $("query").textContent = "…";
  let text = "";
  try {
    const found = await ask("v1/chatbot:wonder", asked);
    text = found.query || UNWRITTEN[found.outcome] || "The reasoner wrote nothing.";
    if (mine === latest) $("wrote").hidden = !found.query;
  } catch (error) {
    text = error.message;
  }
  if (mine === latest) $("query").textContent = text;
}

async function rank() {
  const mine = ++latest;
  const asked = { user: $("user").value.trim() };
  const entry = $("entry_point") ? $("entry_point").value : "";
  if (entry) asked.entry_point = Number(entry);
  history.replaceState(null, "", `?${new URLSearchParams({ user: asked.user, entry_point: entry })}`);
  $("error").textContent = "";
  $("status").textContent = "Asking…";
  $("answer").setAttribute("aria-busy", "true");
  try {
    const found = await ask("v1/chatbot:rank", { ...asked, top: top_ });
    if (mine !== latest) return;
    show(found);
    if (!["nobody", "down", "rested"].includes(found.query)) write(asked, mine);
  } catch (error) {
    if (mine !== latest) return;
    $("answer").hidden = true;
    $("status").textContent = "";
    $("error").textContent = error.message;
  } finally {
    if (mine === latest) $("answer").removeAttribute("aria-busy");
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  rank();
});
const given = new URLSearchParams(location.search);
if (given.get("user")) {
  $("user").value = given.get("user");
  if ($("entry_point") && given.get("entry_point")) $("entry_point").value = given.get("entry_point");
  rank();
}
