"""Public collections of intents. None has a description for each but ABCD; what a source does not say is empty."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from feature_store import intents
from feature_store.chat_config import IntentsConfig
from feature_store.datasets import files
from feature_store.errors import DataError
from feature_store.row_checks import RawBatch


def bitext(config: IntentsConfig) -> Iterator[RawBatch]:
    """Requests to a shop's customer service: 27 intents of 11 categories (``bitext_customer_support.csv.gz``)."""
    path = Path(config.path) / "bitext_customer_support.csv.gz"
    rows = _csv(path, ("instruction", "intent", "category"))
    told = ((row["intent"], row["instruction"], row["category"].lower().replace("_", " ")) for row in rows)
    yield _base(path, told)


def banking77(config: IntentsConfig) -> Iterator[RawBatch]:
    """Questions to a bank: 77 intents (``train.csv.gz``), all of the category "banking"."""
    path = Path(config.path) / "train.csv.gz"
    yield _base(path, ((row["category"], row["text"], "banking") for row in _csv(path, ("text", "category"))))


def clinc150(config: IntentsConfig) -> Iterator[RawBatch]:
    """What assistants are asked: 150 intents of 10 domains (``data_full.json.gz``, ``domains.json``), without the
    questions that are out of scope."""
    folder = Path(config.path)
    domains = _json(folder / "domains.json")
    domain = {intent: name.replace("_", " ") for name, found in domains.items() for intent in found}
    path = folder / "data_full.json.gz"
    texts = _json(path)["train"]
    if unknown := {intent for _, intent in texts} - set(domain):
        raise DataError("every intent has a domain in domains.json", file=path, value=sorted(unknown)[0])
    yield _base(path, ((intent, text, domain[intent]) for text, intent in texts))


def abcd(config: IntentsConfig) -> Iterator[RawBatch]:
    """An online clothes shop's desk: 55 intents of 10 flows (``guidelines.json.gz``, ``ontology.json``), described by
    what the agents' guideline says of them; examples are the customers' first words in ``abcd_sample.json.gz``.

    Guidelines and ontology spell the same names in two ways and give them in one order, which is how they are joined.
    """
    folder = Path(config.path)
    path = folder / "guidelines.json.gz"
    guidelines = {name.lower().replace(" ", "_").replace("-", "_"): flow for name, flow in _json(path).items()}
    examples: dict[str, list[str]] = {}
    for chat in _json(folder / "abcd_sample.json.gz"):
        of = f"{chat['scenario']['flow']}.{chat['scenario']['subflow']}"
        said = [text for speaker, text in chat["original"] if speaker == "customer" and len(text.split()) > 4]
        examples.setdefault(of, []).extend(said[:1])
    rows = []
    for flow, names in _json(folder / "ontology.json")["intents"]["subflows"].items():
        written = guidelines.get(flow, {}).get("subflows", {})
        if len(written) != len(names):
            rule = f"has as many parts as the ontology's flow {flow!r}, {len(names)}"
            raise DataError(rule, file=path, value=len(written))
        for name, (title, told) in zip(names, written.items(), strict=True):
            identity = f"{flow}.{name}"
            described = " ".join(told["instructions"][:1])
            rows.append(_one(identity, title, described, examples.get(identity, []), flow.replace("_", " ")))
    yield _batch(path, rows)


def _base(path: Path, told: Iterable[tuple[str, str, str]]) -> RawBatch:
    """Of questions with their intent and category: an intent's title is its name in words, its examples the questions,
    each once."""
    examples: dict[str, dict[str, None]] = {}
    categories: dict[str, str] = {}
    for intent, text, category in told:
        examples.setdefault(intent, {})[text] = None
        categories.setdefault(intent, category)
    rows = []
    for intent, texts in examples.items():
        words = intent.replace("_", " ").strip(" ?")
        rows.append(_one(intent, words[:1].upper() + words[1:], "", list(texts), categories[intent]))
    return _batch(path, rows)


def _one(intent: str, title: str, description: str, examples: list[str], category: str) -> dict[str, Any]:
    values = (intent, title, description, examples, category)
    return dict(zip(intents.SCHEMA.names, values, strict=True))


def _batch(path: Path, rows: list[dict[str, Any]]) -> RawBatch:
    batch = pa.RecordBatch.from_pylist(rows, intents.SCHEMA)
    return RawBatch(intents.TABLE, batch, str(path), 0)


def _csv(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    files.require_file(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            files.require_columns(path, columns, reader.fieldnames or ())
            yield from reader
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", file=path) from error


def _json(path: Path) -> Any:
    files.require_file(path)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return json.loads(raw)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", file=path) from error
