"""What the language model was told of a user, which prompts were chosen, how the ranking changed: to be read."""

from __future__ import annotations

import json
from typing import Any

from antiphon.config import Config
from antiphon.html import Markup, element, join
from antiphon.text import cut
from feature_store.table_folder import read_table

_SHOWN, _WIDTH = 10, 38  # titles that a text shows, and how wide
_REASONS = {"rose most": "whose item rose most", "median": "the median user", "fell most": "whose item fell most"}


def read(config: Config, variant: str) -> list[dict[str, Any]]:
    """A variant's examples (`trainer.explain`) with titles for ids, and ``told``: the titles that the model read.

    Empty where the variant has no CoCo.
    """
    path = config.folder / "evaluation" / variant / "explanations.json"
    if not path.is_file():
        return []
    items = read_table(config.folder / "tables", "items", ["item_id", "title"])
    titles = dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))

    def titled(ids: list[str]) -> list[str]:
        return [titles.get(item) or f"item {item}" for item in ids]

    found = []
    for example in json.loads(path.read_text(encoding="utf-8")):
        told = titled(example["history"])
        rankings = {
            kind: example[kind] | {"titles": titled(example[kind]["items"])} for kind in ("alone", "known")
        }
        told = told[-config.llm.max_titles :] if config.llm.text == "titles" else told
        found.append({**example, **rankings, "told": told, "target": titled([example["target"]])[0]})
    return found


def show(example: dict[str, Any]) -> str:
    """One example as text."""
    alone, known = example["alone"], example["known"]
    told = "; ".join(reversed(example["told"][-_SHOWN:]))
    lines = [f"User {example['user_id']}, {_why(example)}", f"    {_told(example).lower()}, newest first: {told}"]
    lines += [f"    prompt: {prompt}" for prompt in _prompts(example)]
    lines.append(f"    {'by behaviour alone':<{_WIDTH + 4}}  with what the model knows")
    rows = zip(alone["titles"], known["titles"], _moves(example), strict=True)
    for number, (left, right, move) in enumerate(rows, 1):
        lines.append(f"    {number:>2}. {cut(left, _WIDTH):<{_WIDTH}}  {number:>2}. {move:<3} {cut(right, _WIDTH)}")
    return "\n".join([*lines, ""])


def markup(examples: list[dict[str, Any]]) -> Markup:
    """The examples as cards of the report."""
    cards = []
    for example in examples:
        newest = example["told"][-8:][::-1]
        prompts = [element("li", prompt) for prompt in _prompts(example)]
        picks = [
            element("li", title, element("small", move))
            for title, move in zip(example["known"]["titles"], _moves(example), strict=True)
        ]
        cards.append(
            element(
                "article",
                element("h3", "User ", example["user_id"]),
                element("p", _why(example), class_="note"),
                element("h4", f"{_told(example)}, newest first ({len(newest)} of {len(example['told']):,} titles)"),
                element("ul", *(element("li", title) for title in newest)),
                *([element("h4", "Prompts chosen"), element("ul", *prompts)] if prompts else []),
                element("h4", "Recommended, and the change of place"),
                element("ol", *picks, class_="picks"),
            )
        )
    return join([element("div", *cards, class_="cards")])


def _why(example: dict[str, Any]) -> str:
    before, after = example["alone"]["rank"], example["known"]["rank"]
    return f"{_REASONS[example['why']]}: {example['target']} went from place {before:,.0f} to {after:,.0f}"


def _told(example: dict[str, Any]) -> str:
    return "The model was told" if example["asked"] else "Met"


def _prompts(example: dict[str, Any]) -> list[str]:
    """Nothing where the knowledge was stored before."""
    prompts = [_prompt(prompt) for prompt in example["prompts"]]
    return prompts or ["the shared ones alone"] if example["asked"] else []


def _prompt(prompt: dict[str, Any]) -> str:
    if "text" not in prompt:
        return f"code {prompt['code']}"
    return f"{prompt['text']} (code {prompt['code']}, cosine {prompt['cosine']:.2f} to its sentence)"


def _moves(example: dict[str, Any]) -> list[str]:
    """For each item ranked with knowledge how many places it rose (+) or fell (−), or that it is new there."""
    before = {item: place for place, item in enumerate(example["alone"]["items"])}
    moves = [before[item] - place if item in before else None for place, item in enumerate(example["known"]["items"])]
    return ["new" if move is None else "=" if move == 0 else f"{move:+d}".replace("-", "−") for move in moves]
