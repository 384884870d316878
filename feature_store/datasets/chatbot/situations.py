"""What users want in which situation: ``situations.jsonl``, one line an intent of our own base.

``base`` is how common the intent is. Each of ``rules`` says under which condition (SQL over a session's columns, ids
as their words) its rate grows, and by which weight. ``follow`` are intents that come along with it or after it,
``help`` is the title of its page in the help centre, ``says`` are words of people who want it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from feature_store.datasets.chatbot.dictionaries import DICTIONARIES, TRACKING_EVENTS
from feature_store.datasets.chatbot.features import SCHEMA
from feature_store.datasets.intents import SERVICE

_FILE = Path(__file__).with_name("situations.jsonl")


class Situations:
    """The rules of all intents, in the order of their ids (N).

    Attributes:
        ids, categories: (N,) of strings. base: (N,). popularity: (N,), ``base`` as a distribution.
        follow: (N, N), each row a distribution over what comes along with the row's intent.
        help: N titles. says: N tuples of texts.
    """

    def __init__(self) -> None:
        lines = _FILE.read_text(encoding="utf-8").splitlines()
        rows = sorted(map(json.loads, lines), key=lambda row: row["intent_id"])
        category = {row["intent_id"]: row["category"] for row in map(json.loads, SERVICE.read_text().splitlines())}
        names = [row["intent_id"] for row in rows]
        self.ids = np.array(names, dtype=object)
        self.categories = np.array([category[name] for name in names], dtype=object)
        self.base = np.array([row["base"] for row in rows])
        self.popularity = self.base / self.base.sum()
        self.follow = np.array([[float(name in row["follow"]) for name in names] for row in rows])
        self.follow /= self.follow.sum(1, keepdims=True)
        self.help = [row["help"] for row in rows]
        self.says = [tuple(row["says"]) for row in rows]
        self._rules = [(place, rule["weight"], rule["when"]) for place, row in enumerate(rows) for rule in row["rules"]]

    def intensities(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(S, N) float32: the weights of the rules that hold in each session."""
        table = pa.table({"row": np.arange(len(columns["region"])), **{n: _worded(n, v) for n, v in columns.items()}})
        asked = ", ".join(f"coalesce({when}, false) AS rule_{number}" for number, (*_, when) in enumerate(self._rules))
        with duckdb.connect() as database:
            found = database.from_arrow(table).query("session", f"SELECT row, {asked} FROM session").to_arrow_table()
        order = np.argsort(found["row"].to_numpy(), kind="stable")
        total = np.zeros((len(order), len(self.ids)), np.float32)
        for number, (place, weight, _) in enumerate(self._rules):
            total[:, place] += weight * found[f"rule_{number}"].to_numpy()[order]
        return total


def _worded(name: str, values: np.ndarray) -> pa.Array:
    """Ids as their words; a missing id or number is null."""
    if name == "tracking_event":
        return pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int32)), list(TRACKING_EVENTS))
    dictionary = next((each.dictionary for each in SCHEMA.features if each.name == name), "")
    if not dictionary:
        return pa.array(values, pa.float64(), from_pandas=True)
    indices = pa.array(values.astype(np.int32) - 1, mask=values <= 0)
    return pa.DictionaryArray.from_arrays(indices, list(DICTIONARIES[dictionary].values()))
