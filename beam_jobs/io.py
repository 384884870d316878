"""What the jobs share: running a pipeline, its progress, and files that appear whole.

Elements are Arrow record batches keyed by the name of the file their group goes to. Every job is one chain
that ends in one step, without side outputs or side inputs: that much every runner does, Dask's too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from beam_jobs.options import BeamConfig, pipeline_options

_bars: dict[str, tqdm] = {}


@contextmanager
def progress(job: str, unit: str, total: int | None = None) -> Iterator[None]:
    """Shows a bar that `advance` moves from inside the job's steps.

    Steps that run in other processes (Dask, Flink) do not reach the bar; their runners have their own pages.
    """
    with tqdm(total=total, desc=job, unit=unit, unit_scale=True) as bar:
        _bars[job] = bar
        try:
            yield
        finally:
            del _bars[job]


def advance(job: str, count: int) -> None:
    """Moves the job's bar, where it is shown by this process."""
    if job in _bars:
        _bars[job].update(count)


def run_pipeline(config: BeamConfig, build: Callable[[beam.Pipeline], object]) -> None:
    """Builds a pipeline, runs it to its end, and leaves no process of a local cluster behind."""
    pipeline = beam.Pipeline(options=pipeline_options(config))
    build(pipeline)
    result = pipeline.run()
    try:
        result.wait_until_finish()
    finally:
        if client := getattr(result, "client", None):  # Dask's; the runner does not close it
            cluster = client.cluster
            client.close()
            if cluster is not None:
                cluster.close()


@contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """A new folder beside ``out`` for what passes between the steps of one run; gone at the end.

    Its name is never used again, so that a worker may keep what it has read from it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.staging-", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Writes a file that is whole or not there; a bundle that is run again writes the same file again."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table, temporary, compression="zstd")
    temporary.rename(path)


def table_of(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """The batches of one group as one table."""
    return pa.Table.from_batches(list(batches))


def by_shard(batch: pa.RecordBatch, key: str, shards: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Splits a batch by a hash of its string column ``key`` that is the same in every process."""
    encoded = batch.column(key).dictionary_encode()
    of_value = [zlib.crc32(value.encode()) % shards for value in encoded.dictionary.to_pylist()]
    shard = np.array(of_value, np.int64)[encoded.indices.to_numpy()]  # (rows,)
    yield from split(batch, shard)


def split(batch: pa.RecordBatch, group: np.ndarray) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Splits a batch by ``group`` (rows,), an int64 number a row; rows keep their order."""
    order = np.argsort(group, kind="stable")
    values, starts = np.unique(group[order], return_index=True)
    rows = batch.take(pa.array(order))
    stops = np.append(starts, len(order))[1:]
    for value, start, stop in zip(values, starts, stops, strict=True):
        yield int(value), rows.slice(start, stop - start)
