"""Users' groups and what is known of them as feature views, offline and online: where serving looks them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_store import folders
from feature_store.build import fill
from feature_store.config import OnlineStoreConfig
from feature_store.definitions import PROJECT, apply, write_repository
from feature_store.online import OnlineStore, open_online_store
from feature_store.priors import group_columns
from feature_store.schema import CREATED_TIME, EVENT_TIME, FeatureView, Field, Schema
from feature_store.user_groups import require_version

KIND = "group_views"
FOLDER = "features"
"""Within the priors' folder."""
USER_GROUP, GROUP_PRIOR, REPOSITORY = "user_group", "group_prior", "feature_repo"
_ROWS = 4096  # written at a time


@dataclass(frozen=True)
class GroupSchema(Schema):
    """The two views, of a data set's users' attributes."""

    def views(self) -> tuple[FeatureView, ...]:
        """See ``Schema``."""
        codes = Field("codes", "int64", shape=(None,))
        return (
            FeatureView(USER_GROUP, "user_id", (codes, Field("group"), Field("level", "int64"), Field("version"))),
            FeatureView(GROUP_PRIOR, "group", (*group_columns(self), Field("version"))),
        )


def write(
    users: Path, priors: Path, out: Path, schema: Schema, online: OnlineStoreConfig, version: str, since: int
) -> dict[str, int]:
    """Writes ``out/{user_group,group_prior}.parquet``, a Feast repository and the online store; returns rows a view.

    What is not known of a group is "", -1 or NaN there, as in requests. ``version`` of the groups stands in every row,
    because a store may be shared.

    Args:
        users, priors: Parquet of users' groups and of groups' priors. since: when rows begin to be true, microseconds.
    Raises:
        DataError: the online store cannot be used.
    """
    views = GroupSchema(schema.user_attributes)
    sources, rows = {USER_GROUP: Path(users), GROUP_PRIOR: Path(priors)}, {}
    with folders.new_folder(Path(out)) as folder:
        repository = folder / REPOSITORY
        write_repository(repository, views, online, f"{PROJECT}_groups")
        apply(repository)
        files = {}
        with open_online_store(repository, views) as store:
            for name, source in sources.items():
                rows[name] = _write(source, folder / f"{name}.parquet", views.view(name), store, version, since)
                files[name] = folders.describe(folder / f"{name}.parquet", folder)
        kept = {"version": version, "schema": schema.to_json(), "rows": rows, "files": files}
        folders.write_manifest(folder, {"kind": KIND, **kept})
    return rows


def _write(source: Path, path: Path, view: FeatureView, store: OnlineStore, version: str, since: int) -> int:
    file = pq.ParquetFile(source)
    count = file.metadata.num_rows
    with (
        pq.ParquetWriter(path, view.arrow(), compression="zstd", store_schema=False) as writer,
        tqdm(total=count, desc=view.name, unit="row", delay=2) as bar,
    ):
        for batch in file.iter_batches(_ROWS):
            times = pa.repeat(since, batch.num_rows).cast(pa.timestamp("us", tz="UTC"))
            batch = batch.append_column(EVENT_TIME, times).append_column(CREATED_TIME, times)
            batch = fill(batch.append_column("version", pa.repeat(version, batch.num_rows)), view)
            writer.write_batch(batch)
            store.write(view.name, batch)
            bar.update(batch.num_rows)
    return count


def read(folder: Path, version: str = "") -> tuple[dict[str, Any], GroupSchema]:
    """The manifest of a folder that `write` made, and the views' schema.

    Raises:
        DataError: the folder is not whole, or of another version than ``version``.
    """
    manifest = folders.read_manifest_of(KIND, Path(folder), "views of groups", hashes=False)
    require_version(manifest, version, folder)
    return manifest, GroupSchema(Schema.from_json(manifest["schema"]).user_attributes)


class GroupStore:
    """Looks up users' groups and what is known of these, of one version. Use as a context manager, or ``close`` it.

    Args:
        version: that the model which asks was trained with; "" takes what the folder has.
    Raises:
        DataError: as `read`.
    """

    def __init__(self, folder: Path, version: str = "", timeout: float | None = None) -> None:
        manifest, self.schema = read(folder, version)
        self.version = manifest["version"]
        self._store = open_online_store(Path(folder) / REPOSITORY, self.schema, timeout)

    def users(self, users: Sequence[str]) -> list[dict[str, Any]]:
        """The group of each user; one who is not known, or of another version, is in that of everybody."""
        return self.read_with_times(USER_GROUP, users)[0]

    def priors(self, groups: Sequence[str]) -> list[dict[str, Any]]:
        """What is known of each group; nothing where it is of another version."""
        return self.read_with_times(GROUP_PRIOR, groups)[0]

    def read_with_times(self, view: str, keys: Sequence[str]) -> tuple[list[dict[str, Any]], list[int | None]]:
        """As `OnlineStore.read_with_times`; a row of another version is one that is not there."""
        rows, times = self._store.read_with_times(view, keys)
        ours = [row["version"] == self.version for row in rows]
        rows = [row if mine else self.defaults(view) for row, mine in zip(rows, ours, strict=True)]
        return rows, [time if mine else None for time, mine in zip(times, ours, strict=True)]

    def defaults(self, view: str) -> dict[str, Any]:
        """What a key that is not there reads as."""
        return self._store.defaults(view)

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> GroupStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

