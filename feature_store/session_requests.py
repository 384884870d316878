"""Sessions of the chatbot as labelled requests: what the ranker learns from (`requests`).

A session that has a label is a request. Its candidates are all intents of the base, or in training the slate alone; a
candidate's label is 1 where it was clicked, in the test split where it is a true intent. Features are the sessions'
own, of the candidates their category and the vector of their text, and the vector of the query that the language model
wonders about. The manifest's ``coupled`` names the lists that are about the same things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection

from feature_store import cross_fit, folders, intents, requests, sessions
from feature_store.chat_config import ChatConfig
from feature_store.database import connect
from feature_store.errors import DataError
from feature_store.request_schema import ITEM, RequestFeature
from feature_store.session_schema import CLICKED, INTENTS, SESSION_ID, SHOWN, TRUE, USER_ID, SessionFeature
from feature_store.splits import SPLITS

QUERY, INTENT_TEXT, INTENT_CATEGORY = "query", "intent_text", "intent_category"
"""Features besides the sessions': the query's vector, and what is known of a candidate."""
QUERIES = "query_vectors"
CANDIDATE_QUERIES = "candidate_vectors"
"""Kinds of folders of the vectors of sessions' queries, and of several candidate queries each."""
_SIDES = {"profile": "user", "behaviour": "user", "context": "context"}


def write(
    folder: Path,
    base: Path,
    out: Path,
    config: ChatConfig,
    intent_text: Path | None = None,
    queries: Path | None = None,
    folds: int = 0,
    left_out: int = -1,
) -> dict[str, Any]:
    """Writes a folder of requests.

    Args:
        folder: of sessions. base: of intents. intent_text: folder of the vectors of their texts; None is without.
        queries: folder of the vectors of the sessions' queries (``session_id``, ``vector``); None is without. A session
            that has none there has no query.
        folds, left_out: train on all but one fold of the training sessions (`cross_fit`), which is then the whole of
            ``test``, labelled with its clicks; there is no such test with 0 folds.
    Returns:
        the manifest.
    Raises:
        DataError: a folder is not whole, or an intent has no vector of its text.
    """
    manifest, schema = sessions.read_manifest(folder), sessions.schema_of(folder)
    known = intents.read(base)
    items = _items(known, intent_text)
    extra = _of_candidates(items)
    about: dict[str, Any] = {
        "coupled": {name: [each.name for each in members] for name, members in schema.groups.items()},
        "intents": manifest["intents"],
        "folds": folds,
        "left_out": left_out,
    }
    with TemporaryDirectory(prefix=".requests-", dir=Path(out).parent) as place, connect() as database:
        database.read_parquet(str(Path(folder) / "sessions.parquet")).create_view("sessions")
        _queries(database, queries, about)
        if queries:
            extra.append(RequestFeature(QUERY, "context", "vector", "float32", length=about["query"]["width"]))
        told = [each for each in schema.features if _given(database, each)]
        about["left_out_features"] = [each.name for each in schema.features if each not in told]
        _fold_of_each(database, folds)
        splits = {}
        for split in SPLITS:
            path = Path(place) / f"{split}.parquet"
            if _stage(database, path, split, told, known, config, folds, left_out):
                splits[split] = path
        every = config.candidates == "all"
        features = [*map(_feature(config), told), *extra]
        return requests.write(splits, items, features, out, config.shards, about, every_item=every)


def _feature(config: ChatConfig) -> Any:
    """From a session's feature to a request's."""

    def made(each: SessionFeature) -> RequestFeature:
        side, kind = _SIDES[each.dimension], "sequence" if each.is_list else "single"
        if each.kind in ("text", "texts"):
            return RequestFeature(each.name, side, kind, "string", hash_buckets=config.text_buckets, length=each.length)
        if each.kind in ("number", "numbers"):
            return RequestFeature(each.name, side, kind, "float32", length=each.length, log=each.log)
        if each.dictionary == INTENTS:
            return RequestFeature(each.name, side, kind, "string", ITEM, length=each.length)
        return RequestFeature(each.name, side, kind, "int64", each.name, length=each.length)

    return made


def _items(known: pa.Table, intent_text: Path | None) -> pa.Table:
    items = {"item_id": known["intent_id"], INTENT_CATEGORY: known["category"]}
    if intent_text is not None:
        vectors = dict(zip(*vectors_of(intent_text, "intent_text", ("intent_id",)), strict=True))
        names = known["intent_id"].to_pylist()
        if missing := [name for name in names if name not in vectors]:
            raise DataError("has no vector of this intent's text", file=intent_text, value=missing[0])
        items[INTENT_TEXT] = pa.array([vectors[name] for name in names], pa.list_(pa.float32()))
    return pa.table(items)


def _of_candidates(items: pa.Table) -> list[RequestFeature]:
    found = []
    if any(items[INTENT_CATEGORY].to_pylist()):
        found.append(RequestFeature(INTENT_CATEGORY, "candidate", vocabulary=INTENT_CATEGORY))
    if INTENT_TEXT in items.column_names:
        width = len(items[INTENT_TEXT][0])
        found.append(RequestFeature(INTENT_TEXT, "candidate", "vector", "float32", length=width))
    return found


def vectors_of(folder: Path, kind: str, keys: Sequence[str]) -> tuple[list[Any], np.ndarray]:
    """Keys (a tuple each where there are several) and vectors (n, D) of a folder of ``kind``.

    Raises:
        DataError: the folder is not whole, or of another kind.
    """
    manifest = folders.read_manifest_of(kind, Path(folder), kind.replace("_", " "))
    rows = pa.concat_tables([pq.read_table(Path(folder) / part["file"]) for part in manifest["files"]])
    columns = [rows[key].to_pylist() for key in keys]
    names = columns[0] if len(keys) == 1 else list(zip(*columns, strict=True))
    flat = rows["vector"].combine_chunks().flatten().to_numpy()
    return names, flat.reshape(len(rows), -1)


def place_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (D,), in float64, of each number of vectors (n, D); the deviation of one that is the same in
    all of them is 1."""
    return vectors.mean(0, dtype=np.float64), _or_one(vectors.std(0, dtype=np.float64))


def _or_one(deviation: np.ndarray) -> np.ndarray:
    return np.where(deviation > 1e-6, deviation, 1.0)


def _queries(database: DuckDBPyConnection, queries: Path | None, about: dict[str, Any]) -> None:
    """Makes the view "queries" and tells of the reasoner."""
    if queries is None:
        database.execute("CREATE TABLE queries (session_id VARCHAR, vector FLOAT[])")
        return
    found = folders.read_manifest_of(QUERIES, Path(queries), "vectors of queries")
    files = [str(Path(queries) / part["file"]) for part in found["files"]]
    database.read_parquet(files).create_view("queries")
    about["query"] = {name: found[name] for name in ("width", "model_id", "adapter_version")}
    total, squares, count = np.zeros(found["width"]), np.zeros(found["width"]), 0
    trained = "SELECT vector FROM queries SEMI JOIN (FROM sessions WHERE split = 'train') USING (session_id)"
    for batch in database.sql(trained).to_arrow_reader(1 << 12):
        vectors = batch.column("vector").flatten().to_numpy().reshape(batch.num_rows, -1).astype(np.float64)
        total, squares, count = total + vectors.sum(0), squares + (vectors**2).sum(0), count + len(vectors)
    if not count:
        raise DataError("has no vector of a session to train on", file=queries)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    about["query"] |= {"mean": mean.tolist(), "deviation": _or_one(deviation).tolist()}


def _given(database: DuckDBPyConnection, feature: SessionFeature) -> bool:
    """Whether any training session has a value: what is empty throughout tells nothing, and has no vocabulary."""
    some = {"text": f"\"{feature.name}\" <> ''"}.get(feature.kind, f'"{feature.name}" IS NOT NULL')
    some = f'len("{feature.name}") > 0' if feature.is_list else some
    query = f"SELECT count(*) FROM sessions WHERE split = 'train' AND {some}"
    return database.sql(query).fetchall()[0][0] > 0


def _fold_of_each(database: DuckDBPyConnection, folds: int) -> None:
    """Makes the view "folds" of the training sessions; empty without folds."""
    names = []
    if folds:
        trained = database.sql(f"SELECT {SESSION_ID} FROM sessions WHERE split = 'train'")
        names = [name for (name,) in trained.fetchall()]
    of = cross_fit.folds_of(names, folds) if folds else []
    table = pa.table({SESSION_ID: pa.array(names, pa.string()), "fold": pa.array(of, pa.int64())})
    database.from_arrow(table).create("folds")


def _stage(
    database: DuckDBPyConnection,
    path: Path,
    split: str,
    told: Sequence[SessionFeature],
    known: pa.Table,
    config: ChatConfig,
    folds: int,
    left_out: int,
) -> int:
    """Writes a split's requests as Parquet in an order that is random but fixed; returns how many there are."""
    labels = TRUE if split == "test" and not folds else CLICKED
    own = f"sessions.split = '{split}'"
    if folds and split == "train":
        own += f" AND fold <> {left_out}"
    elif folds and split == "test":
        own = f"sessions.split = 'train' AND fold = {left_out}"
    every = config.candidates == "all"  # then a request names those with a label alone
    candidates = f"sessions.{labels}" if every else SHOWN if split == "train" else "$base"
    columns = ", ".join(f'sessions."{each.name}"' for each in told)
    query = f"""
        SELECT {USER_ID}, {SESSION_ID} AS request_id, session_time AS label_time, {candidates} AS candidates,
            list_transform({candidates}, lambda one: list_contains(sessions.{labels}, one)::FLOAT) AS labels,
            queries.vector AS {QUERY}{", " if columns else ""}{columns}
        FROM sessions LEFT JOIN folds USING ({SESSION_ID}) LEFT JOIN queries USING ({SESSION_ID})
        WHERE {own} AND len(sessions.{labels}) > 0 ORDER BY md5({SESSION_ID})
    """
    params: Mapping[str, Any] = {"base": known["intent_id"].to_pylist()} if "$base" in query else {}
    writer, count = None, 0
    for batch in database.sql(query, params=params).to_arrow_reader(1 << 14):
        writer = writer or pq.ParquetWriter(path, batch.schema)
        writer.write_batch(batch)
        count += batch.num_rows
    if writer:
        writer.close()
    return count
