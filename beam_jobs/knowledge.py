"""Knowledge for every example, and where the source says so for every item, with a frozen language model.

An example's text is made from its ``history``, which ends before its target, or with ``once`` from that of the user's
first example; nothing of the target or after it is read. Rows are known by user, split and label time; equal texts are
computed once (`text_vectors`).
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from beam_jobs import text_vectors
from beam_jobs.embed import item_pieces, item_rows
from beam_jobs.options import BeamConfig
from beam_jobs.text_embedding import TextEmbedding
from beam_jobs.text_vectors import Handler, TextJob
from beam_jobs.written_knowledge import ANSWERS, WrittenKnowledge
from feature_store import folders, knowledge_shards, user_knowledge
from feature_store.errors import DataError
from feature_store.examples import read_manifest as read_examples
from feature_store.examples import read_rows
from feature_store.splits import SPLITS
from feature_store.table_folder import read_manifest
from llm_offline.config import SourceConfig
from llm_offline.identity import embedding_id
from llm_offline.knowledge.sources import written_id
from llm_offline.knowledge.user_text import UserText
from llm_offline.prompts import Template

JOB = "knowledge"
USERS, ITEMS = "users", "items"
_WRITTEN_TEXTS = 128  # texts of one batch where a model writes: a run that is stopped loses one
_WRITTEN_BUCKET = 128  # characters: a model writes faster to many at a time
_OF_EXAMPLE = ["user_id", "label_time", "history"]

Piece = tuple[str, int]  # of the examples: split and shard


def run(tables: Path, examples: Path, out: Path, source: SourceConfig, beam: BeamConfig) -> dict[str, Any]:
    """Writes ``out/users``, `knowledge_shards` of it and, where a model writes (kar, r4ec), ``out/items``.

    ``users`` and ``items`` hold the texts, their hashes, model_id, adapter_version and vector; of a model that writes,
    `ANSWERS` too. ``users`` has a row for every example and template: `feature_store.user_knowledge.KEYS`; where a
    history has no title there is no vector. ``items`` is as the embed job's folder: item_id, none for an item without
    text.

    Returns:
        for both: rows, texts computed and reused, width, model id, and of answers how many came about how; seconds.
    Raises:
        DataError: tables or examples are not whole, or the examples were made from other tables.
        ValueError: a template is not known or names a column that there is not; the model has fewer layers.
        FileNotFoundError: a model's files are not there.
    """
    started = time.monotonic()
    tables, examples, out = Path(tables), Path(examples), Path(out)
    events = read_manifest(tables)["tables"]["events"]["sha256"]
    shards = read_examples(examples)
    if shards["events"] != events:
        raise DataError("the examples were made from other tables; make them again", file=examples)
    text = UserText(source, pq.read_schema(tables / "users.parquet").names)
    if source.kind != "template":
        Template(source.item_text, pq.read_schema(tables / "items.parquet").names)
    users = _job(source, USERS, out)
    pieces = [(split, n) for split in SPLITS for n in range(len(shards["splits"][split]["shards"]))]
    render = partial(user_rows, tables=tables, examples=examples, source=source)
    described = {"source": asdict(source), "parts": text.parts, "events": events}
    made = text_vectors.run(users, pieces, render, _handler(source, users), described, beam)
    summary = {USERS: _summary(made, users)}
    knowledge_shards.write(users.out, examples, out / knowledge_shards.FOLDER)
    if source.kind != "template":
        items = _job(source, ITEMS, out)
        pieces, render = item_pieces(tables / "items.parquet"), partial(item_rows, template=source.item_text)
        made = text_vectors.run(items, pieces, render, _handler(source, items), {"source": asdict(source)}, beam)
        summary[ITEMS] = _summary(made, items)
    return {**summary, "seconds": round(time.monotonic() - started, 2)}


def _job(source: SourceConfig, folder: str, out: Path) -> TextJob:
    writes = source.kind != "template"
    return TextJob(
        name=f"{JOB} {folder}",
        kind=user_knowledge.KIND if folder == USERS else "item_text",
        out=out / folder,
        model_id=written_id(source, folder[:-1]) if writes else embedding_id(source.reader),
        keys=user_knowledge.KEYS if folder == USERS else ("item_id",),
        answers=ANSWERS if writes else (),
        blank=folder == USERS,
        told=True,
        **({"batch_texts": _WRITTEN_TEXTS, "bucket_characters": _WRITTEN_BUCKET} if writes else {}),
    )


def _handler(source: SourceConfig, job: TextJob) -> Handler:
    if source.kind == "template":
        return TextEmbedding(source.reader, job.name)
    subject = job.out.name[:-1]
    return WrittenKnowledge(source, subject, job.name, _begun(source, subject, job.out))


def _begun(source: SourceConfig, subject: str, out: Path) -> Path | None:
    """For R4ec: a folder beside this source's that has KAR's answers of the same model and wording, which are what its
    own first answers would be."""
    if source.kind != "r4ec":
        return None
    wanted = written_id(replace(source, kind="kar"), subject)
    for folder in sorted(out.parents[1].glob(f"*/{out.name}")):
        with suppress(DataError):
            if folders.read_manifest(folder, hashes=False).get("model_id") == wanted:
                return folder
    return None


def user_rows(piece: Piece, tables: Path, examples: Path, source: SourceConfig) -> pa.Table:
    """`user_knowledge.KEYS` and text of a shard's examples; with ``source.once`` a user's are all of one text."""
    split, shard = piece
    text = UserText(source, pq.read_schema(tables / "users.parquet").names)
    rows = read_rows(examples, split, _OF_EXAMPLE, shard)
    if source.once:
        first = _first_histories(examples, folders.version(examples))
        histories = [first[user] for user in rows["user_id"].to_pylist()]
        rows = rows.set_column(2, "history", pa.array(histories, rows["history"].type))
    users = _by_id(tables / "users.parquet", rows["user_id"], ["user_id", *text.columns]) if text.columns else {}
    titled = ["item_id", "title", "categories"]
    items = _by_id(tables / "items.parquet", rows["history"].combine_chunks().flatten(), titled)
    unknown = dict.fromkeys(text.columns)
    told = [
        {"user_id": row["user_id"], "split": split, "label_time": row["label_time"], "part": part, "text": one}
        for row in rows.to_pylist()
        for part, one in enumerate(text.render(users.get(row["user_id"], unknown), row["history"], items))
    ]
    kinds = {"label_time": pa.int64(), "part": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in (*user_knowledge.KEYS, "text")])
    return pa.Table.from_pylist(told, schema)


@lru_cache(maxsize=1)
def _first_histories(examples: Path, _version: str) -> dict[str, list[str]]:
    """Each user's history before the earliest of its targets, of whatever split."""
    rows = pa.concat_tables([read_rows(examples, split, _OF_EXAMPLE) for split in SPLITS]).sort_by("label_time")
    pairs = zip(*(reversed(rows[name].to_pylist()) for name in ("user_id", "history")), strict=True)
    return dict(pairs)  # the earliest comes last, and stays


def _by_id(path: Path, ids: pa.ChunkedArray | pa.Array, columns: list[str]) -> dict[str, dict[str, Any]]:
    """The rows of a table with one of ``ids`` in its first column, by it."""
    wanted = ds.field(columns[0]).isin(ids.unique())
    rows = ds.dataset(path, format="parquet").to_table(columns=columns, filter=wanted)
    return {row[columns[0]]: row for row in rows.to_pylist()}


def _summary(manifest: dict[str, Any], job: TextJob) -> dict[str, Any]:
    summary = {
        "rows": manifest["rows"],
        "computed": manifest["computed"],
        "reused": manifest["texts"] - manifest["computed"],
        "width": manifest["width"],
        "model_id": job.model_id,
    }
    if job.answers:
        files = [job.out / part["file"] for part in folders.read_manifest(job.out, hashes=False)["files"]]
        made = pq.read_table(files, columns=["content_hash", "outcome", "verdict", "rounds"])
        distinct = {row.pop("content_hash"): row for row in made.to_pylist() if row["outcome"]}
        for name in ("outcome", "verdict", "rounds"):
            summary[name] = dict(sorted(Counter(str(row[name]) for row in distinct.values()).items()))
    return summary
