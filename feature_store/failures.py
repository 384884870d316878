"""The users whom frozen knowledge failed, with the gradients of it: what a language model learns from later.

CoCo lets the language model learn where its knowledge made the recommendation worse (M = 0, Eq. 8 and 9). Where it is
not beside the training, the gradients wait here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store import folders
from feature_store.database import connect
from feature_store.selected_prompts import rows_of

KIND = "failures"
COLUMNS = ("user_id", "label_time", "batch", "row", "gradient")
"""An example of the training split, the batch (from 1) that its loss was a mean over, its place in the split, and the
gradient of that loss with respect to its knowledge, (m · d) flat."""
_FILE = "failures.parquet"
_ROWS = 1024


def table(users: np.ndarray, times: np.ndarray, batch: int, rows: np.ndarray, gradients: np.ndarray) -> pa.Table:
    """Of n examples that failed in one batch; gradients (n, m, d) keep their type."""
    width = gradients.shape[1] * gradients.shape[2]
    offsets = pa.array(np.arange(len(users) + 1) * width, pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(gradients.ravel()))
    numbers = pa.array(np.full(len(users), batch, np.int64))
    columns = (pa.array(users, pa.string()), pa.array(times, pa.int64()), numbers, pa.array(rows, pa.int64()), lists)
    return pa.table(dict(zip(COLUMNS, columns, strict=True)))


def write(out: Path, parts: Iterable[pa.Table], described: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the log whole: ``parts`` as `table` makes them, in the order of the batches, at least one.

    Args:
        described: what the manifest says besides. It may grow while ``parts`` are drawn.
    Returns:
        the manifest.
    """
    with folders.new_folder(Path(out)) as folder:
        path, writer, rows, users = folder / _FILE, None, 0, set()
        for part in parts:
            writer = writer or pq.ParquetWriter(path, part.schema, compression="zstd")
            writer.write_table(part)
            rows += len(part)
            users.update(part["user_id"].to_pylist())
        writer.close()
        counts = {"failed_rows": rows, "failed_users": len(users)}
        files = [folders.describe(path, folder)]
        manifest = {"kind": KIND, **described, **counts, "files": files}
        folders.write_manifest(folder, manifest)
    return manifest


def read_folder(folder: Path) -> dict[str, Any]:
    """The manifest.

    Raises:
        DataError: the folder is not whole, or not a log of failures.
    """
    return folders.read_manifest_of(KIND, folder, "failures")


def users(folder: Path) -> set[str]:
    """Who was failed. Raises DataError as `read_folder`."""
    read_folder(folder)
    return set(pc.unique(pq.read_table(Path(folder) / _FILE, columns=["user_id"])["user_id"]).to_pylist())


def batches(folder: Path, prompts: Path) -> Iterator[tuple[int, pa.Table]]:
    """Batch by batch the number and the rows that failed, each with the prompts that its knowledge was made of.

    Args:
        prompts: of `selected_prompts`, all columns of which join those of the log.
    Raises:
        DataError: as `read_folder`.
    """
    read_folder(folder)
    query = """
        SELECT * FROM read_parquet($log) log JOIN read_parquet($prompts) asked USING (user_id, label_time)
        WHERE split = 'train' ORDER BY row
    """
    asked = {"log": str(Path(folder) / _FILE), "prompts": [str(file) for file in rows_of(prompts)]}
    with connect() as database:
        held: list[pa.Table] = []
        for piece in database.sql(query, params=asked).to_arrow_reader(_ROWS):
            rows = pa.Table.from_batches([piece])
            for number in pc.unique(rows["batch"]).to_pylist():
                part = rows.filter(pc.equal(rows["batch"], number))
                if held and held[0]["batch"][0].as_py() != number:
                    yield _joined(held)
                    held = []
                held.append(part)
        if held:
            yield _joined(held)


def _joined(parts: list[pa.Table]) -> tuple[int, pa.Table]:
    rows = pa.concat_tables(parts).combine_chunks()
    return rows["batch"][0].as_py(), rows


def gradients(rows: pa.Table, parts: int) -> np.ndarray:
    """(n, m, d) of rows that `batches` gave; ``parts`` is m."""
    flat = rows["gradient"].combine_chunks()
    return flat.flatten().to_numpy().reshape(len(rows), parts, -1)
