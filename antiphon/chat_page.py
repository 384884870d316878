"""The chatbot's page: whom it is about and where the chat was opened in; context, query and intents out.

One document with its style and script inside; what it shows comes from the endpoint beside it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from antiphon.html import Markup, element, join

if TYPE_CHECKING:
    from serving.exported_ranker import ExportedRanker
    from serving.rest_api import Response

OFFERED = 500
"""Users that the field's list offers; any other may be typed."""


def response(
    name: str, ranker: ExportedRanker, users: Sequence[str], entry_points: Mapping[int, str], top: int
) -> Response:
    """The page, and a policy under which a browser runs and loads nothing but what is in it."""
    from serving.rest_api import Response

    style = _part("report.css") + _part("chat_page.css")
    script = _part("chat_page.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    head = [
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'),
        element("title", f"{name} · chatbot · Antiphon"),
        element("style", Markup(style)),
    ]
    told = f"{len(users):,} users · ranker {ranker.model}, version {ranker.version}"
    if ranker.query:
        told += f" · its reasoner {ranker.adapter_version}"
    header = element("header", element("h1", name), element("p", told, class_="lead"))
    body = element("main", header, _form(users, entry_points, top), *_answer(ranker, top), element("noscript", element(
        "p", "This page asks the endpoint by JavaScript, which is switched off.", class_="worse")))  # fmt: skip
    page = element("html", element("head", *head),
                   element("body", body, element("script", Markup(script))), lang="en")  # fmt: skip
    headers = {"content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    return Response(200, "text/html; charset=utf-8", f"<!doctype html>\n{page}\n".encode(), headers)


def _form(users: Sequence[str], entry_points: Mapping[int, str], top: int) -> Markup:
    offered = [element("option", value=user) for user in users[:OFFERED]]
    choices = [element("option", "as it was then", value="")]
    choices += [element("option", words, value=number) for number, words in entry_points.items()]
    field = element(
        "input", id="user", name_="user", list="users", value=users[0], required="", autocomplete="off",
        spellcheck="false", maxlength=200,
    ).removesuffix("</input>")  # fmt: skip
    where = [element("label", "Opens the chat on", for_="entry_point"),
             element("select", *choices, id="entry_point", name_="entry_point")] if entry_points else []  # fmt: skip
    return element(
        "form",
        element("div", element("label", "User", for_="user"), Markup(field), element("datalist", *offered, id="users")),
        *([element("div", *where)] if where else []),
        element("div", element("button", "Rank the intents", type="submit")),
        id="ask", data_top=top,
    )  # fmt: skip


def _answer(ranker: ExportedRanker, top: int) -> list[Markup]:
    equation = "A score is ω cos(user, intent) + (1 − ω) cos(intent, query), both between −1 and 1."
    equation += f" Here ω is {ranker.omega:g}." if ranker.query else " This ranker reads no query: ω is 1."
    wrote = "Written out to be read. The ranker reads the reasoner's state before the first of these words."
    sections = [
        ("known", "What is known", [element("p", id="context"), element("p", id="since", class_="note")]),
        ("wondered", "What the reasoner wonders about",
         [element("p", id="verdict"), element("blockquote", id="query"),
          element("p", wrote, id="wrote", class_="note", hidden="")]),
        ("ranked", f"The {top} likeliest intents, and why" if top > 1 else "The likeliest intent, and why",
         [element("ol", id="intents"), element("p", equation, class_="note")]),
    ]  # fmt: skip
    parts = [element("section", element("h2", title), *content, id=name) for name, title, content in sections]
    return [
        element("p", id="status", role="status"),
        element("p", id="error", role="alert", class_="worse"),
        element("div", join(parts), id="answer", hidden=""),
    ]


def _part(name: str) -> str:
    return resources.files("antiphon").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
