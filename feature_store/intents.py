"""The knowledge base: the intents that a service chatbot can answer.

A folder has ``intents.parquet``, one row an intent in the order of the ids, dead letters, and MANIFEST.json with the
base's ``version``: a hash of its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store import folders
from feature_store.hashing import digest, uniform
from feature_store.reasoner_prompt import LEAST_WORDS, MOST_WORDS
from feature_store.row_checks import Checked, DeadLetter, RawBatch
from feature_store.schema import Field, arrow_schema
from feature_store.table_folder import write_dead_letters
from feature_store.tables import require_few_bad

KIND, TABLE = "intents", "intents"
FIELDS = (
    Field("intent_id", required=True),
    Field("title", required=True),
    Field("description"),
    Field("examples", shape=(None,)),
    Field("category"),
)
"""What is known of an intent: its title as users are shown it, a sentence on what it covers, questions that mean it."""
SCHEMA = arrow_schema(FIELDS)


def checked(batches: Iterable[RawBatch], examples: int) -> tuple[pa.Table, list[DeadLetter]]:
    """Raw rows to the base's, in the order of their ids, and the bad ones: no id, no title, a value of another type, an
    id that stood before. Empty examples are left out, ``examples`` of an intent are kept."""
    tables, letters, seen = [SCHEMA.empty_table()], [], set()
    for raw in batches:
        rows = Checked(raw, FIELDS)
        again = np.zeros(raw.batch.num_rows, bool)
        for row, identity in enumerate(rows.columns["intent_id"].to_pylist()):
            again[row] = identity in seen
            if not rows.reasons[row]:
                seen.add(identity)
        rows.mark(again, "an intent of this id stood before")
        tables.append(_plain(rows.good(), examples))
        letters += rows.dead_letters()
    return pa.concat_tables(tables).sort_by("intent_id"), letters


def _plain(rows: pa.Table, examples: int) -> pa.Table:
    """Texts with their white space collapsed, nulls as ""."""
    columns = {}
    for field in FIELDS:
        column = rows[field.name].combine_chunks()
        if field.is_list:
            kept = [[" ".join(text.split()) for text in row if text and text.strip()] for row in column.to_pylist()]
            columns[field.name] = pa.array([row[:examples] for row in kept], field.arrow_type)
        elif field.name == "intent_id":
            columns[field.name] = column
        else:
            texts = [" ".join((text or "").split()) for text in column.to_pylist()]
            columns[field.name] = pa.array(texts, pa.string())
    return pa.table(columns, schema=SCHEMA)


def write(
    out: Path, rows: pa.Table, letters: Sequence[DeadLetter], max_bad_share: float, source: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes a base whole; returns its manifest, which says ``source`` besides.

    Raises:
        DataError: there is no intent, or more rows than ``max_bad_share`` are bad.
    """
    reasons = Counter(letter.reason for letter in letters)
    require_few_bad(TABLE, len(rows), len(letters), max_bad_share, reasons)
    with folders.new_folder(Path(out)) as folder:
        path = folder / "intents.parquet"
        pq.write_table(rows, path, compression="zstd")
        write_dead_letters(folder, letters)
        manifest = {
            "kind": KIND,
            "source": dict(source),
            "version": version(rows),
            "dead_letters": dict(reasons),
            "categories": len(pc.unique(rows["category"])),
            "intents": {"rows": len(rows), **folders.describe(path, folder)},
        }
        folders.write_manifest(folder, manifest)
    return manifest


def version(rows: pa.Table) -> str:
    """A hash of the base's rows."""
    return digest(repr(rows.to_pylist()))


def read(folder: Path) -> pa.Table:
    """The base, in the order of its ids.

    Raises:
        DataError: the folder is not whole, or not a base of intents.
    """
    folders.read_manifest_of(KIND, Path(folder), "intents")
    return pq.read_table(Path(folder) / "intents.parquet")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises DataError as `read`."""
    return folders.read_manifest_of(KIND, Path(folder), "intents")


def text(row: Mapping[str, Any]) -> str:
    """An intent as what a language model or a sentence encoder reads: title, description and examples."""
    parts = [row["title"], row["description"], *row["examples"]]
    return " ".join(_sentence(part) for part in parts if part)


def question(row: Mapping[str, Any], draw: str) -> str:
    """An intent as a user might put it, in as many words as a query has where the base has enough of them: some of its
    title and examples, which ``draw`` picks."""
    parts = [row["title"], *row["examples"]]
    said: list[str] = []
    for part in sorted(parts, key=lambda part: uniform("question", f"{draw}/{part}")):
        more = [*said, _sentence(part)]
        if len(" ".join(more).split()) <= MOST_WORDS or not said:
            said = more
        if len(" ".join(said).split()) >= LEAST_WORDS:
            break
    return " ".join(said)


def _sentence(part: str) -> str:
    return part if part[-1] in ".?!" else f"{part}."
