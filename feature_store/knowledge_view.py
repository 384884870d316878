"""Each user's newest stored knowledge as a feature view, offline and online: where serving looks it up."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_store import folders
from feature_store.config import OnlineStoreConfig
from feature_store.database import connect
from feature_store.definitions import PROJECT, apply, write_repository
from feature_store.online import OnlineStore, open_online_store
from feature_store.schema import CREATED_TIME, EVENT_TIME, FeatureView, Field, Schema
from feature_store.user_knowledge import UserKnowledge, read_folder

KIND = "knowledge_view"
FOLDER = "features"
"""Within a source's folder."""
VIEW, REPOSITORY = "user_knowledge", "feature_repo"
_USERS = 1024  # written at a time


@dataclass(frozen=True)
class KnowledgeSchema(Schema):
    """The one view: m vectors of D values end to end, which of them there are, and what made them."""

    parts: int = 1  # m
    width: int = 1  # D

    def views(self) -> tuple[FeatureView, ...]:
        """See ``Schema``."""
        vectors = Field("vectors", "float32", shape=(self.parts * self.width,))
        there = Field("there", "int64", shape=(self.parts,))
        return (FeatureView(VIEW, "user_id", (vectors, there, Field("model_id"), Field("adapter_version"))),)


def write(users: Path, out: Path, online: OnlineStoreConfig, source: str) -> dict[str, Any]:
    """Writes each user's newest row of a folder of user knowledge: ``out/user_knowledge.parquet``, a Feast repository,
    and the online store. A row is true from the label time of its example on.

    Args:
        source: its name, which tells it from others in a store that they share.
    Returns:
        users and seconds.
    Raises:
        DataError: the folder is not whole, or the online store cannot be used.
    """
    started, manifest = time.monotonic(), read_folder(Path(users))
    kept = {name: manifest[name] for name in ("parts", "width", "model_id", "adapter_version")}
    schema = KnowledgeSchema(parts=kept["parts"], width=kept["width"])
    rows = _newest([str(Path(users) / part["file"]) for part in manifest["files"]])
    count = len(rows) // schema.parts
    with folders.new_folder(Path(out)) as folder:
        repository, path = folder / REPOSITORY, folder / f"{VIEW}.parquet"
        write_repository(repository, schema, online, f"{PROJECT}_{re.sub(r'[^A-Za-z0-9]', '_', source)}")
        apply(repository)
        described = schema.view(VIEW).arrow()
        with (
            open_online_store(repository, schema) as store,
            pq.ParquetWriter(path, described, compression="zstd", store_schema=False) as writer,
            tqdm(total=count, desc="knowledge view", unit="user", delay=2) as bar,
        ):
            for first in range(0, count, _USERS):
                batch = _batch(rows.slice(first * schema.parts, _USERS * schema.parts), kept, described)
                writer.write_batch(batch)
                store.write(VIEW, batch)
                bar.update(len(batch))
        folders.write_manifest(folder, {"kind": KIND, **kept, "users": count, "file": folders.describe(path, folder)})
    return {"users": count, "seconds": round(time.monotonic() - started, 2)}


@contextmanager
def opened(folder: Path) -> Iterator[KnowledgeStore]:
    """The online store of a folder that `write` made.

    Raises:
        DataError: the folder is not whole, or not one of a knowledge view.
    """
    manifest = folders.read_manifest_of(KIND, Path(folder), "a knowledge view", hashes=False)
    schema = KnowledgeSchema(parts=manifest["parts"], width=manifest["width"])
    with open_online_store(Path(folder) / REPOSITORY, schema) as store:
        yield KnowledgeStore(store, schema)


class KnowledgeStore:
    """Looks up what is known of users."""

    def __init__(self, store: OnlineStore, schema: KnowledgeSchema) -> None:
        self._store, self._schema = store, schema

    def read(self, users: Sequence[str], model_id: str, adapter_version: str) -> UserKnowledge:
        """Knowledge of n users, as (n, m, D) with a mask (n, m).

        A user of whom there is none, or only what another model or adapter made, has a mask that is all False.
        """
        m, width = self._schema.parts, self._schema.width
        vectors, mask = np.zeros((len(users), m, width), np.float32), np.zeros((len(users), m), bool)
        for n, row in enumerate(self._store.read(VIEW, users)):
            if (row["model_id"], row["adapter_version"]) == (model_id, adapter_version):
                vectors[n], mask[n] = np.reshape(row["vectors"], (m, width)), np.array(row["there"], bool)
        return UserKnowledge(vectors, mask)


def _newest(files: list[str]) -> pa.Table:
    """user_id, part, label_time and vector of each user's newest example, sorted by user and part."""
    query = """
        SELECT DISTINCT ON (user_id, part) user_id, part, label_time, vector FROM read_parquet(?)
        ORDER BY user_id, part, label_time DESC, split
    """
    return connect().sql(query, params=[files]).to_arrow_table()


def _batch(rows: pa.Table, kept: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    m, width = kept["parts"], kept["width"]
    column = rows["vector"].combine_chunks()
    there = column.is_valid().to_numpy(zero_copy_only=False)
    vectors = np.zeros((len(rows), width), np.float32)
    vectors[there] = column.flatten().to_numpy().reshape(-1, width)
    one = rows.take(np.arange(0, len(rows), m))
    times = one["label_time"].cast(pa.timestamp("us", tz="UTC")).combine_chunks()
    columns = {
        "user_id": one["user_id"].combine_chunks(), EVENT_TIME: times, CREATED_TIME: times,
        "vectors": _lists(vectors.reshape(-1), m * width), "there": _lists(there.astype(np.int64), m),
        "model_id": pa.repeat(kept["model_id"], len(one)),
        "adapter_version": pa.repeat(kept["adapter_version"], len(one)),
    }  # fmt: skip
    return pa.record_batch([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _lists(values: np.ndarray, size: int) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, size), pa.int32()), pa.array(values))
