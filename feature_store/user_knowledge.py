"""Knowledge that was computed for each example before training, read in the examples' order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store import folders
from feature_store.errors import DataError
from feature_store.examples import read_manifest as read_examples
from feature_store.examples import read_rows

KIND = "user_knowledge"
KEYS = ("user_id", "split", "label_time", "part")
"""An example is known by user, split and the time of its label; it has ``parts`` vectors, from 0."""


@dataclass(frozen=True)
class UserKnowledge:
    """Of n examples, in the order of the shards' records.

    Attributes:
        vectors: (n, m, D) float32; zeros where there is none.
        mask: (n, m) bool, False where an example has no text to make knowledge from.
    """

    vectors: np.ndarray
    mask: np.ndarray


def rows_of(examples: pa.Table, vectors: np.ndarray, mask: np.ndarray) -> pa.Table:
    """A folder's rows of n examples: `KEYS` and ``vector``, which is null where nothing is known.

    Args:
        examples: user_id, split and label_time of each. vectors: (n, m, D). mask: (n, m) bool.
    """
    n, m, width = vectors.shape
    ends = np.concatenate([[0], np.cumsum(np.where(mask, width, 0))])
    values, none = vectors[mask].ravel().astype(np.float32), pa.array(~mask.ravel())
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values), mask=none)
    columns = {name: examples[name].take(pa.array(np.repeat(np.arange(n), m))) for name in KEYS[:-1]}
    return pa.table({**columns, "part": pa.array(np.tile(np.arange(m), n)), "vector": lists})


def write(out: Path, tables: Iterable[pa.Table], described: Mapping[str, Any]) -> dict[str, Any]:
    """Writes ``out``, a folder of the rows of ``tables`` (`rows_of`), and returns its manifest.

    Args:
        described: of the manifest: model_id, adapter_version, events, parts and width.
    """
    with folders.new_folder(Path(out)) as folder:
        path, writer, rows = folder / "00000.parquet", None, 0
        try:
            for table in tables:
                writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
                writer.write_table(table)
                rows += len(table)
        finally:
            if writer is not None:
                writer.close()
        files = [{"rows": rows, **folders.describe(path, folder)}] if writer is not None else []
        manifest = {"kind": KIND, **described, "rows": rows, "files": files}
        folders.write_manifest(folder, manifest)
    return manifest


def read_folder(folder: Path, model_id: str = "", adapter_versions: Collection[str] = ()) -> dict[str, Any]:
    """The manifest of a folder of user knowledge.

    Args:
        model_id: that it must be of; "" takes any. adapter_versions: those its rows may be of; () takes any.
    Raises:
        DataError: the folder is not whole, not one of user knowledge, or of another model or adapter.
    """
    manifest = folders.read_manifest_of(KIND, folder, "user knowledge")
    folders.require_model(manifest, model_id, folder)
    if adapter_versions and manifest["adapter_version"] not in adapter_versions:
        rule = f"is stale: it must be one of {sorted(adapter_versions)}"
        raise DataError(rule, file=folder, field="adapter_version", value=manifest["adapter_version"])
    return manifest


def of_split(
    folder: Path, examples: Path, split: str, model_id: str = "", adapter_versions: Collection[str] = ()
) -> UserKnowledge:
    """The knowledge of a split's examples, in memory; see `of_shards`."""
    parts = list(of_shards(folder, examples, split, model_id, adapter_versions))
    return UserKnowledge(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("vectors", "mask")))


def of_shards(
    folder: Path, examples: Path, split: str, model_id: str = "", adapter_versions: Collection[str] = ()
) -> Iterator[UserKnowledge]:
    """The knowledge of a split's examples, one shard of them after another.

    Args:
        folder: of the knowledge. examples: the folder whose shards give the order.
        split: train | valid | test. model_id, adapter_versions: as `read_folder`.
    Raises:
        DataError: as `read_folder`; the knowledge was made from other events; an example has no row.
    """
    manifest, made = read_folder(folder, model_id, adapter_versions), read_examples(examples)
    if manifest["events"] != made["events"]:
        raise DataError("is stale: it was made from other events; make it again", file=folder)
    for shard in range(len(made["splits"][split]["shards"])):
        yield _of_shard(Path(folder), manifest, Path(examples), split, shard)


def _of_shard(folder: Path, manifest: dict[str, Any], examples: Path, split: str, shard: int) -> UserKnowledge:
    files = [folder / part["file"] for part in manifest["files"]]
    wanted = read_rows(examples, split, ["user_id", "label_time"], shard)
    mine = (pc.field("split") == split) & pc.field("user_id").isin(wanted["user_id"].unique())
    kept = pq.read_table(files, columns=[*KEYS, "vector"], filters=mine)
    n, m, width = len(wanted), manifest["parts"], manifest["width"]
    wanted = wanted.append_column("row", pa.array(np.arange(n)))
    joined = wanted.join(kept.append_column("at", pa.array(np.arange(len(kept)))).drop_columns("vector"),
                         ["user_id", "label_time"], join_type="inner")  # fmt: skip
    row, part, at = (joined[name].to_numpy() for name in ("row", "part", "at"))
    found = np.zeros((n, m), bool)
    found[row, part] = True
    if not found.all():
        lost = wanted.slice(int((~found.all(axis=1)).argmax()), 1).to_pylist()[0]
        rule = f"{(~found.all(axis=1)).sum()} of {n} {split} examples have no knowledge; make it again. The first"
        raise DataError(rule, file=folder, value=(lost["user_id"], lost["label_time"]))
    column = kept["vector"].combine_chunks()
    there = column.is_valid().to_numpy(zero_copy_only=False)
    values = np.zeros((len(kept), width), np.float32)
    values[there] = column.flatten().to_numpy().reshape(-1, width)
    vectors, mask = np.zeros((n, m, width), np.float32), np.zeros((n, m), bool)
    vectors[row, part], mask[row, part] = values[at], there[at]
    return UserKnowledge(vectors, mask)
