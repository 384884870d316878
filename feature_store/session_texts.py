"""Sessions in words, with what they are labelled with: what the reasoner reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_store import intents, sessions
from feature_store.chat_config import WordsConfig
from feature_store.session_schema import CLICKED, SESSION_ID, TRUE
from feature_store.verbalise import Verbaliser

SCHEMA = pa.schema([("session_id", pa.string()), ("split", pa.string()), ("text", pa.string()),
                    ("intents", pa.list_(pa.string()))])  # fmt: skip


def verbaliser(folder: Path, base: pa.Table, words: WordsConfig) -> Verbaliser:
    """Of a folder of sessions and a base of intents.

    Raises:
        DataError: the folder is not whole. ValueError: `words` names a feature that the sessions do not have.
    """
    titles = dict(zip(base["intent_id"].to_pylist(), base["title"].to_pylist(), strict=True))
    return Verbaliser(sessions.schema_of(folder), titles, words.features, words.most)


def texts(folder: Path, base: Path, words: WordsConfig) -> Iterator[pa.Table]:
    """Pieces of a table of `SCHEMA`, in the order of time: every session, its text, and the intents that label it:
    those clicked, in the test split the true ones; none where it has no label."""
    told = verbaliser(folder, intents.read(base), words)
    fixed = [SESSION_ID, sessions.SPLIT, CLICKED, TRUE]
    for rows in sessions.batches(folder, [*fixed, *told.columns]):
        written = [told.render(row) for row in rows.select(list(told.columns)).to_pylist()]
        test = pc.equal(rows[sessions.SPLIT], "test")
        labels = pc.if_else(test, rows[TRUE], rows[CLICKED])
        columns = [rows[SESSION_ID], rows[sessions.SPLIT], pa.array(written, pa.string()), labels]
        yield pa.table(dict(zip(SCHEMA.names, columns, strict=True))).cast(SCHEMA)


def table(folder: Path, base: Path, words: WordsConfig) -> pa.Table:
    """All pieces of `texts`."""
    return pa.concat_tables(texts(folder, base, words))


def statistics(rows: pa.Table) -> dict[str, Any]:
    """How long the texts are, in characters: the mean and the longest."""
    lengths = pc.utf8_length(rows["text"])
    return {"mean": round(pc.mean(lengths).as_py(), 1), "longest": pc.max(lengths).as_py()}
