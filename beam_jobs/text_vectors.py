"""What the jobs that turn texts into vectors share: computing only what no earlier run has.

A vector is known by its text's hash, the model's id and the adapter's version. Known ones are taken from the
last finished folder and from what a run that was stopped has left. The rest is sorted by length, put through
the model batch by batch, and written after each: a run that is stopped loses one batch.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from apache_beam.ml.inference.base import ModelHandler, RunInference

from beam_jobs.io import progress, run_pipeline, split, staging_folder, table_of, write_parquet
from beam_jobs.options import BeamConfig
from feature_store import folders
from feature_store.errors import DataError
from llm_offline.adapter import BASE

_FILE_ROWS = 1 << 17

Handler = ModelHandler[pa.RecordBatch, pa.RecordBatch, Any]
"""Adds columns, ``vector`` (list of float32) last, to batches of ``content_hash`` and ``text``."""


@dataclass(frozen=True)
class TextJob:
    """One folder of vectors; pickles.

    Attributes:
        name: of the job, for its bar.
        kind: of the folder, for its manifest.
        out: the folder.
        model_id: all that a vector depends on but the text.
        keys: columns that tell rows apart; rows are sorted by them.
        adapter_version: of the model.
        answers: columns that the handler adds before the vector.
        blank: whether a row without text stays, with the hash "" and without a vector.
        told: whether a row keeps its text.
        batch_texts: texts of one element, and of one file of a run that is not finished.
        bucket_characters: texts are grouped by length in steps of this.
    """

    name: str
    kind: str
    out: Path
    model_id: str
    keys: tuple[str, ...]
    adapter_version: str = BASE
    answers: tuple[str, ...] = ()
    blank: bool = False
    told: bool = False
    batch_texts: int = 1024
    bucket_characters: int = 16

    @property
    def unfinished(self) -> Path:
        """Where the vectors of a run are until its end."""
        return self.out.with_name(f".{self.out.name}.unfinished")


def run(
    job: TextJob,
    pieces: Sequence[Any],
    render: Callable[[Any], pa.Table],
    handler: Handler,
    described: Mapping[str, Any],
    beam: BeamConfig,
) -> dict[str, Any]:
    """Writes ``job.out``: *.parquet with keys, content_hash, model_id, adapter_version, the answers and vector.

    Args:
        pieces: what the rows are made from, one element each. render: a piece's rows, keys and ``text``; both pickle.
        described: what the manifest says besides.
    Returns:
        the manifest, and ``computed``: how many texts went through the model.
    Raises:
        DataError: no row has a text.
    """
    with staging_folder(job.out) as staging:
        job.unfinished.mkdir(exist_ok=True)
        _stage(pieces, render, job, staging, beam)
        missing = sorted((staging / "missing").glob("*.parquet"))
        computed = sum(pq.read_metadata(path).num_rows for path in missing)
        if computed:
            with progress(job.name, "text", computed):
                _compute(missing, job, handler, beam)
        manifest = _assemble(job, staging, described)
    shutil.rmtree(job.unfinished)
    return manifest | {"computed": computed}


def _stage(
    pieces: Sequence[Any], render: Callable[[Any], pa.Table], job: TextJob, staging: Path, config: BeamConfig
) -> None:
    """Leaves ``rows/*.parquet`` (keys, content_hash) and ``missing/*.parquet`` (content_hash, text)."""
    for name in ("rows", "missing"):
        (staging / name).mkdir()

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Pieces" >> apache_beam.Create(list(enumerate(pieces)))
            | "OneAWorker" >> apache_beam.Reshuffle()
            | "Render" >> apache_beam.FlatMap(_render, render, job, staging)
            | "GroupByLength" >> apache_beam.GroupByKey()
            | "Distinct" >> apache_beam.Map(_distinct, staging)
        )

    run_pipeline(config, build)


def _render(
    piece: tuple[int, Any], render: Callable[[Any], pa.Table], job: TextJob, staging: Path
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yields the texts of a piece that have no vector yet, keyed by the staged file they go to."""
    rows = render(piece[1])
    texts = rows["text"].to_pylist()
    hashes = pa.array([hashlib.sha256(text.encode()).hexdigest() if text else "" for text in texts], pa.string())
    rows = rows.append_column("content_hash", hashes)
    there = pc.not_equal(hashes, "")
    staged = rows if job.blank else rows.filter(there)
    if not len(staged):
        return
    kept = [*job.keys, *(["text"] if job.told else []), "content_hash"]
    write_parquet(staging / "rows" / f"{piece[0]:05d}.parquet", staged.select(kept))
    rows = rows.select(["content_hash", "text"])
    rows = rows.filter(pc.and_(there, pc.invert(pc.is_in(hashes, value_set=_known_hashes(job, staging)))))
    if not len(rows):
        return
    batch = rows.combine_chunks().to_batches()[0]
    length = pc.utf8_length(batch.column("text")).to_numpy()
    for bucket, part in split(batch, length // job.bucket_characters):
        yield f"{bucket:05d}", part


def _distinct(group: tuple[str, Iterable[pa.RecordBatch]], staging: Path) -> str:
    bucket, batches = group
    texts = table_of(batches).group_by("content_hash").aggregate([("text", "min")])
    texts = texts.rename_columns({"text_min": "text"})
    texts = texts.append_column("length", pc.utf8_length(texts["text"]))
    texts = texts.sort_by([("length", "ascending"), ("content_hash", "ascending")])
    write_parquet(staging / "missing" / f"{bucket}.parquet", texts.drop_columns(["length"]))
    return bucket


def _compute(missing: list[Path], job: TextJob, handler: Handler, config: BeamConfig) -> None:
    """Leaves the vectors of the missing texts in ``job.unfinished``, a file a batch."""

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Texts" >> apache_beam.Create([str(path) for path in missing])
            | "Batches" >> apache_beam.FlatMap(_batches, job.batch_texts)
            | "Spread" >> apache_beam.Reshuffle()
            | "Model" >> RunInference(handler)
            | "Keep" >> apache_beam.Map(_keep, job)
        )

    run_pipeline(config, build)


def _batches(path: str, texts: int) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(path).iter_batches(texts)


def _keep(batch: pa.RecordBatch, job: TextJob) -> str:
    """Writes vectors under a name made of their texts, so that a batch run twice is one file."""
    name = hashlib.sha256("".join(batch.column("content_hash").to_pylist()).encode()).hexdigest()[:24]
    size = batch.num_rows
    columns = {
        "content_hash": batch.column("content_hash"),
        "model_id": pa.repeat(job.model_id, size),
        "adapter_version": pa.repeat(job.adapter_version, size),
    }
    columns |= {name: batch.column(name) for name in (*job.answers, "vector")}
    write_parquet(job.unfinished / f"{name}.parquet", pa.table(columns))
    return name


def _vector_files(job: TextJob) -> list[str]:
    """The files of earlier runs, finished or not. A folder without a manifest counts for nothing."""
    finished: list[str] = []
    if (job.out / folders.MANIFEST).is_file():
        manifest = folders.read_manifest(job.out, hashes=False)
        finished = [str(job.out / part["file"]) for part in manifest["files"]]
    return finished + sorted(str(path) for path in job.unfinished.glob("[!.]*.parquet"))


@lru_cache
def _known_hashes(job: TextJob, staging: Path) -> pa.Array:
    """The content hashes that need no computing. ``staging`` tells one run from another."""
    if not (files := _vector_files(job)):
        return pa.array([], pa.string())
    same = (ds.field("model_id") == job.model_id) & (ds.field("adapter_version") == job.adapter_version)
    known = ds.dataset(files, format="parquet").to_table(columns=["content_hash"], filter=same)
    return known["content_hash"].combine_chunks()


def _assemble(job: TextJob, staging: Path, described: Mapping[str, Any]) -> dict[str, Any]:
    """Joins rows and vectors into the folder ``job.out``; returns its manifest.

    Raises:
        DataError: no row has a text.
    """
    rows = sorted(str(path) for path in (staging / "rows").glob("*.parquet"))
    files = _vector_files(job)
    if not rows or not files:
        raise _no_text(job)
    with (
        duckdb.connect(config={"temp_directory": str(staging / "duckdb")}) as database,
        folders.new_folder(job.out) as folder,
    ):
        database.read_parquet(rows).create_view("staged")
        database.read_parquet(files, union_by_name=True).create_view("vectors")
        keys = ", ".join(f"staged.{name}" for name in job.keys)
        answers = "".join(f", v.{name}" for name in (*job.answers, "vector"))
        query = f"""
            SELECT {keys}{", staged.text" if job.told else ""}, content_hash, CAST($model AS VARCHAR) AS model_id,
                CAST($adapter AS VARCHAR) AS adapter_version{answers}
            FROM staged LEFT JOIN (
                SELECT DISTINCT ON (content_hash) * FROM vectors
                WHERE model_id = $model AND adapter_version = $adapter AND vector IS NOT NULL
            ) v USING (content_hash)
            ORDER BY {keys}
        """
        reader = database.sql(query, params={"model": job.model_id, "adapter": job.adapter_version})
        manifest = _write(reader.to_arrow_reader(_FILE_ROWS), job, folder, described)
        folders.write_manifest(folder, manifest)
    return manifest


def _no_text(job: TextJob) -> DataError:
    return DataError(f"no {job.keys[0].removesuffix('_id')} has text: every field of it is empty", file=job.out)


def _write(
    batches: Iterable[pa.RecordBatch], job: TextJob, folder: Path, described: Mapping[str, Any]
) -> dict[str, Any]:
    files, texts, widths = [], set(), set()
    for number, batch in enumerate(batches):
        path = folder / f"{number:05d}.parquet"
        write_parquet(path, pa.Table.from_batches([batch]))
        files.append({"rows": batch.num_rows, **folders.describe(path, folder)})
        texts.update(batch.column("content_hash").to_pylist())
        length = pc.list_value_length(batch.column("vector").drop_null())
        widths.update(np.unique(length.to_numpy()).tolist())
    texts.discard("")
    if not widths:
        raise _no_text(job)
    return {
        "kind": job.kind,
        "model_id": job.model_id,
        "adapter_version": job.adapter_version,
        **described,
        "width": widths.pop(),
        "rows": sum(file["rows"] for file in files),
        "texts": len(texts),
        "files": files,
    }
