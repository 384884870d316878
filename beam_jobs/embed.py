"""Item text to vectors, computing only what no earlier run has.

A vector is known by its text's hash, the model's id and the adapter's version. Known ones are taken from the
last finished folder and from what a run that was stopped has left. The rest is sorted by length, put through
the model batch by batch, and written after each: a run that is stopped loses one batch.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import apache_beam
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import RunInference

from beam_jobs.io import progress, run_pipeline, split, staging_folder, table_of, write_parquet
from beam_jobs.options import BeamConfig
from beam_jobs.text_embedding import TextEmbedding
from feature_store import folders
from feature_store.errors import DataError
from feature_store.table_folder import read_manifest
from llm_offline.config import EmbedConfig
from llm_offline.identity import embedding_id
from llm_offline.prompts import Template

JOB = "embed"
ADAPTER_VERSION = "base"  # the model as it was published
_BUCKET_CHARACTERS = 16  # texts are grouped by length in steps of this
_BATCH_TEXTS = 1024  # texts of one element, and of one file of a run that is not finished
_FILE_ROWS = 1 << 17


@dataclass(frozen=True)
class _Job:
    """What the steps need to know; pickles."""

    staging: Path
    out: Path
    model_id: str
    template: str

    @property
    def unfinished(self) -> Path:
        """Where the vectors of a run are until its end."""
        return self.out.with_name(f".{self.out.name}.unfinished")


def run(tables: Path, out: Path, embed: EmbedConfig, beam: BeamConfig) -> dict[str, Any]:
    """Writes ``out/*.parquet``: item_id, content_hash, model_id, adapter_version, vector; sorted by item_id.

    An item whose text is empty (no title, no category) has no row, and is counted.

    Returns:
        counts of items, of texts computed and reused, the vectors' width, the model's id, seconds taken.
    Raises:
        DataError: the tables are not whole, or no item has text.
        ValueError: the template names a column that items do not have; the model has fewer layers.
        FileNotFoundError: the model's files are not there.
    """
    started = time.monotonic()
    tables, out = Path(tables), Path(out)
    read_manifest(tables)
    items = tables / "items.parquet"
    Template(embed.template, pq.read_schema(items).names)
    with staging_folder(out) as staging:
        job = _Job(staging, out, embedding_id(embed), embed.template)
        job.unfinished.mkdir(exist_ok=True)
        _stage_texts(items, job, beam)
        missing = sorted((staging / "missing").glob("*.parquet"))
        computed = sum(pq.read_metadata(path).num_rows for path in missing)
        if computed:
            with progress(JOB, "text", computed):
                _compute(missing, job, embed, beam)
        manifest = _assemble(job)
    shutil.rmtree(job.unfinished)
    count = pq.read_metadata(items).num_rows
    return {
        "items": count,
        "without_text": count - manifest["rows"],
        "computed": computed,
        "reused": manifest["texts"] - computed,
        "width": manifest["width"],
        "model_id": job.model_id,
        "seconds": round(time.monotonic() - started, 2),
    }


def _stage_texts(items: Path, job: _Job, config: BeamConfig) -> None:
    """Leaves ``items/*.parquet`` (item_id, content_hash) and ``missing/*.parquet`` (content_hash, text)."""
    for name in ("items", "missing"):
        (job.staging / name).mkdir()
    groups = [(str(items), number) for number in range(pq.read_metadata(items).num_row_groups)]

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "RowGroups" >> apache_beam.Create(groups)
            | "OneAWorker" >> apache_beam.Reshuffle()
            | "Render" >> apache_beam.FlatMap(_render, job)
            | "GroupByLength" >> apache_beam.GroupByKey()
            | "Distinct" >> apache_beam.Map(_distinct, job)
        )

    run_pipeline(config, build)


def _render(group: tuple[str, int], job: _Job) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yields the texts of a row group that have no vector yet, keyed by the staged file they go to."""
    path, number = group
    file = pq.ParquetFile(path)
    template = Template(job.template, file.schema_arrow.names)
    columns = list(dict.fromkeys(("item_id", *template.columns)))
    rows = file.read_row_group(number, columns=columns).to_pylist()
    texts = [(row["item_id"], template.render(row)) for row in rows]
    ids = [item for item, text in texts if text]
    texts = [text for _, text in texts if text]
    if not texts:
        return
    hashes = pa.array([hashlib.sha256(text.encode()).hexdigest() for text in texts])
    staged = pa.table({"item_id": pa.array(ids, pa.string()), "content_hash": hashes})
    write_parquet(job.staging / "items" / f"{number:05d}.parquet", staged)
    batch = pa.record_batch({"content_hash": hashes, "text": pa.array(texts)})
    batch = batch.filter(pc.invert(pc.is_in(hashes, value_set=_known_hashes(job))))
    length = pc.utf8_length(batch.column("text")).to_numpy()
    for bucket, part in split(batch, length // _BUCKET_CHARACTERS):
        yield f"{bucket:05d}", part


def _distinct(group: tuple[str, Iterable[pa.RecordBatch]], job: _Job) -> str:
    bucket, batches = group
    texts = table_of(batches).group_by("content_hash").aggregate([("text", "min")])
    texts = texts.rename_columns({"text_min": "text"})
    texts = texts.append_column("length", pc.utf8_length(texts["text"]))
    texts = texts.sort_by([("length", "ascending"), ("content_hash", "ascending")])
    write_parquet(job.staging / "missing" / f"{bucket}.parquet", texts.drop_columns(["length"]))
    return bucket


def _compute(missing: list[Path], job: _Job, embed: EmbedConfig, config: BeamConfig) -> None:
    """Leaves the vectors of the missing texts in ``job.unfinished``, a file a batch."""

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Texts" >> apache_beam.Create([str(path) for path in missing])
            | "Batches" >> apache_beam.FlatMap(_batches)
            | "Spread" >> apache_beam.Reshuffle()
            | "Embed" >> RunInference(TextEmbedding(embed, JOB))
            | "Keep" >> apache_beam.Map(_keep, job)
        )

    run_pipeline(config, build)


def _batches(path: str) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(path).iter_batches(_BATCH_TEXTS)


def _keep(batch: pa.RecordBatch, job: _Job) -> str:
    """Writes vectors under a name made of their texts, so that a batch run twice is one file."""
    name = hashlib.sha256("".join(batch.column("content_hash").to_pylist()).encode()).hexdigest()[:24]
    size = batch.num_rows
    table = pa.table(
        {
            "content_hash": batch.column("content_hash"),
            "model_id": pa.repeat(job.model_id, size),
            "adapter_version": pa.repeat(ADAPTER_VERSION, size),
            "vector": batch.column("vector"),
        }
    )
    write_parquet(job.unfinished / f"{name}.parquet", table)
    return name


def _vector_files(job: _Job) -> list[str]:
    """The files of earlier runs, finished or not. A folder without a manifest counts for nothing."""
    finished: list[str] = []
    if (job.out / folders.MANIFEST).is_file():
        manifest = folders.read_manifest(job.out, hashes=False)
        finished = [str(job.out / part["file"]) for part in manifest["files"]]
    return finished + sorted(str(path) for path in job.unfinished.glob("[!.]*.parquet"))


@lru_cache
def _known_hashes(job: _Job) -> pa.Array:
    """The content hashes that need no computing."""
    if not (files := _vector_files(job)):
        return pa.array([], pa.string())
    same = (ds.field("model_id") == job.model_id) & (ds.field("adapter_version") == ADAPTER_VERSION)
    known = ds.dataset(files, format="parquet").to_table(columns=["content_hash"], filter=same)
    return known["content_hash"].combine_chunks()


def _assemble(job: _Job) -> dict[str, Any]:
    """Joins items and vectors into the folder ``job.out``; returns its manifest.

    Raises:
        DataError: no item has text.
    """
    items = sorted(str(path) for path in (job.staging / "items").glob("*.parquet"))
    if not items:
        raise DataError("no item has text: every field of embed.template is empty", value=job.template)
    with (
        duckdb.connect(config={"temp_directory": str(job.staging / "duckdb")}) as database,
        folders.new_folder(job.out) as folder,
    ):
        database.read_parquet(items).create_view("items")
        database.read_parquet(_vector_files(job), union_by_name=True).create_view("vectors")
        rows = database.sql(
            """
            SELECT items.item_id, content_hash, v.model_id, v.adapter_version, v.vector
            FROM items JOIN (
                SELECT DISTINCT ON (content_hash) * FROM vectors WHERE model_id = ? AND adapter_version = ?
            ) v USING (content_hash)
            ORDER BY items.item_id
            """,
            params=[job.model_id, ADAPTER_VERSION],
        )
        files, texts, widths = [], set(), set()
        for number, batch in enumerate(rows.to_arrow_reader(_FILE_ROWS)):
            path = folder / f"{number:05d}.parquet"
            write_parquet(path, pa.Table.from_batches([batch]))
            files.append({"rows": batch.num_rows, **folders.describe(path, folder)})
            texts.update(batch.column("content_hash").to_pylist())
            widths.update(np.unique(pc.list_value_length(batch.column("vector")).to_numpy()).tolist())
        manifest = {
            "kind": "item_text",
            "model_id": job.model_id,
            "adapter_version": ADAPTER_VERSION,
            "template": job.template,
            "width": widths.pop(),
            "rows": sum(file["rows"] for file in files),
            "texts": len(texts),
            "files": files,
        }
        folders.write_manifest(folder, manifest)
    return manifest
