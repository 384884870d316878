"""What passes between the chatbot's data, the ranker and the alignment of the reasoner: folders of small tables.

A candidate is a query that a teacher wrote for a session; ``candidate`` tells a session's apart, "<teacher>/<sample>".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store import cross_fit, folders
from feature_store.errors import DataError
from feature_store.splits import SPLITS

_STRINGS = pa.list_(pa.string())
_IDS = [("session_id", pa.string()), ("candidate", pa.string())]

TABLES: dict[str, dict[str, pa.Schema]] = {
    "session_texts": {
        # text: the verbalised context. intents: those clicked; in the test split the true ones.
        "sessions": pa.schema([("session_id", pa.string()), ("split", pa.string()), ("text", pa.string()),
                               ("intents", _STRINGS)]),
        "intents": pa.schema([("intent_id", pa.string()), ("title", pa.string()), ("description", pa.string()),
                              ("examples", _STRINGS), ("category", pa.string())]),
    },
    "candidates": {
        # own: the reasoner's. outcome: kept | short | long | empty, by the number of words. answer: what the query was
        # found in. source: what the teacher is, and its settings. asked: a hash of source, prompt and session.
        "candidates": pa.schema([*_IDS, ("teacher", pa.string()), ("own", pa.bool_()), ("query", pa.string()),
                                 ("words", pa.int64()), ("outcome", pa.string()), ("answer", pa.string()),
                                 ("source", pa.string()), ("asked", pa.string())]),
    },
    "rewards": {
        # margin: the best clicked intent's score less the best other's. fold: the one its ranker left out.
        "rewards": pa.schema([*_IDS, ("ndcg", pa.float64()), ("margin", pa.float64()), ("fold", pa.int64())]),
    },
    "best_of_n": {
        "samples": pa.schema([*_IDS, ("query", pa.string()), ("intents", _STRINGS)]),
        # by: what the chosen one is better by, ndcg or margin.
        "pairs": pa.schema([("session_id", pa.string()), ("chosen", pa.string()), ("rejected", pa.string()),
                            ("by", pa.string())]),
    },
}  # fmt: skip
"""The tables of each kind of folder, and their columns."""


def write(out: Path, kind: str, tables: Mapping[str, pa.Table], described: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a folder of one of `TABLES`, checked; returns its manifest, which says ``described`` besides.

    Raises:
        DataError: a table is missing or has other columns, or a row does not keep its rule.
    """
    schemas = TABLES[kind]
    if set(tables) != set(schemas):
        raise DataError(f"a folder of {kind} holds {sorted(schemas)}", file=out, value=sorted(tables))
    with folders.new_folder(Path(out)) as folder:
        files = {}
        for name, schema in schemas.items():
            table = tables[name]
            if set(table.column_names) != set(schema.names):
                rule = f"the table's columns are {schema.names}"
                raise DataError(rule, file=out, field=name, value=table.column_names)
            table = table.select(schema.names).cast(schema)
            _check(kind, name, table, described, out)
            path = folder / f"{name}.parquet"
            pq.write_table(table, path, compression="zstd", row_group_size=1 << 14)
            files[name] = {"rows": len(table), **folders.describe(path, folder)}
        manifest = {"kind": kind, **described, "tables": files}
        folders.write_manifest(folder, manifest)
    return manifest


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """
    Raises:
        DataError: the folder is not whole or of another kind.
    """
    return folders.read_manifest_of(kind, Path(folder), kind.replace("_", " "))


def read(folder: Path, kind: str, name: str, columns: list[str] | None = None) -> pa.Table:
    """One table of a folder, checked as it was when it was written; errors as `read_manifest` and `write`."""
    manifest = read_manifest(folder, kind)
    path = Path(folder) / f"{name}.parquet"
    table = pq.read_table(path)
    if not table.schema.equals(TABLES[kind][name]):
        rule = f"the table's columns are {TABLES[kind][name].names}"
        raise DataError(rule, file=path, value=table.column_names)
    _check(kind, name, table, manifest, path)
    return table if columns is None else table.select(columns)


def _check(kind: str, name: str, table: pa.Table, described: Mapping[str, Any], file: Path) -> None:
    keys = [key for key in ("session_id", "candidate") if key in table.column_names]
    if name == "intents":
        keys = ["intent_id"]
    for key in keys:
        if table[key].null_count or pc.any(pc.equal(table[key], "")).as_py():
            raise DataError("must be given in every row", file=file, field=key)
    if name != "pairs" and len(table.select(keys).group_by(keys).aggregate([])) != len(table):
        raise DataError("no two rows are of the same " + " and ".join(keys), file=file, field=name)
    if name == "sessions":
        odd = set(table["split"].unique().to_pylist()) - set(SPLITS)
        if odd:
            rule = f"must be one of {', '.join(SPLITS)}"
            raise DataError(rule, file=file, field="split", value=min(map(str, odd)))
    if name == "rewards":
        _check_rewards(table, described, file)


def _check_rewards(table: pa.Table, described: Mapping[str, Any], file: Path) -> None:
    for field in ("ndcg", "margin"):
        finite = pc.is_finite(pc.fill_null(table[field], float("nan")))
        if not pc.all(finite).as_py() and len(table):
            raise DataError("must be a number in every row", file=file, field=field)
    outside = pc.or_(pc.less(table["ndcg"], 0), pc.greater(table["ndcg"], 1))
    if pc.any(outside).as_py():
        value = table.filter(outside)["ndcg"][0].as_py()
        raise DataError("must be from 0 to 1", file=file, field="ndcg", value=value)
    if "folds" not in described:
        rule = "the manifest must say how many folds the rankers were cross-fitted over"
        raise DataError(rule, file=file, field="folds")
    left_out = table["fold"].to_numpy()
    cross_fit.require_held_out(table["session_id"].to_pylist(), left_out, described["folds"], file)
