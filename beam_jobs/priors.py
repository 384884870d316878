"""What the users of each group have in common, from the training window (ChoirRec section 4.3).

A user counts in every group that a prefix of the user's codes names, so a coarse group knows its finer ones' users too.
Each piece of users is summed up where it is read; the sums of a group are then put together by a CombineFn, in parts
first, because everybody's group gets a sum from every piece.
"""

from __future__ import annotations

import pickle
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import apache_beam
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_jobs import user_pieces
from beam_jobs.io import advance, progress, run_pipeline, staging_folder, write_parquet
from beam_jobs.options import BeamConfig, PriorConfig
from beam_jobs.user_pieces import Piece
from feature_store import folders, group_views, user_groups
from feature_store.config import OnlineStoreConfig
from feature_store.errors import DataError
from feature_store.priors import GROUPS, KIND, USERS, Prior, arrow
from feature_store.schema import EVENT_TIME, Schema
from feature_store.table_folder import read_manifest, read_schema

JOB = "priors"


@dataclass(frozen=True)
class _Read:
    """What the steps need to know; pickles."""

    tables: Path
    groups: Path
    staging: Path
    schema: Schema
    priors: PriorConfig
    end: int
    shards: int

    @property
    def attributes(self) -> list[str]:
        return [field.name for field in self.schema.user_attributes]


def run(
    tables: Path, groups: Path, out: Path, priors: PriorConfig, online: OnlineStoreConfig, beam: BeamConfig
) -> dict[str, Any]:
    """Writes ``out/groups.parquet`` (group, `feature_store.priors.group_columns`; sorted by group), with
    ``leave_one_out`` also ``users.parquet`` (user_id and the same of the user's group without that user), and
    ``features/`` (`feature_store.group_views`).

    The training window ends where that of the profiles did which the groups are made of.

    Returns:
        groups, users, rows a view, how consistent groups are on average over users (``attribute_consistency``,
        ``category_consistency``: `feature_store.priors.Prior.consistency`), the groups' version, seconds.
    Raises:
        DataError: tables or groups are not whole, of other users, or the online store cannot be used.
    """
    started, tables, groups, out = time.monotonic(), Path(tables), Path(groups), Path(out)
    read_manifest(tables)
    grouped = user_groups.read(groups, hashes=True)
    users = pq.read_table(groups / user_groups.USERS, columns=["user_id"])["user_id"]
    if not users.equals(pq.read_table(tables / "users.parquet", columns=["user_id"])["user_id"]):
        raise DataError("the groups are of other users than the tables; make them again", file=groups)
    schema = read_schema(tables)
    pieces = user_pieces.pieces(users)
    with staging_folder(out) as staging:
        step = _Read(tables, groups, staging, schema, priors, grouped["training_end"], beam.shards)
        with progress(JOB, "user", len(users)):
            _sum_up(pieces, step, beam)
        if priors.leave_one_out:
            with progress(f"{JOB} of users", "user", len(users)):
                _leave_out(pieces, step, beam)
        temporary = {"temp_directory": str(staging / "duckdb")}
        with folders.new_folder(out) as folder, duckdb.connect(config=temporary) as db:
            rows = _assemble(db, staging / "groups", folder / GROUPS, arrow(schema, "group"), "group")
            named = {GROUPS: rows}
            if priors.leave_one_out:
                named[USERS] = _assemble(db, staging / "users", folder / USERS, arrow(schema, "user_id"), "user_id")
            consistency = _consistency(db, staging / "groups", groups / user_groups.USERS)
            views = group_views.write(
                groups / user_groups.USERS, folder / GROUPS, folder / group_views.FOLDER, schema, online,
                grouped["version"], grouped["training_end"],
            )  # fmt: skip
            files = {name: {"rows": count, **folders.describe(folder / name, folder)} for name, count in named.items()}
            manifest = {
                "kind": KIND, "version": grouped["version"], "training_end": grouped["training_end"],
                "priors": asdict(priors), "schema": schema.to_json(), **consistency, "files": files,
            }  # fmt: skip
            folders.write_manifest(folder, manifest)
    return {
        "groups": rows,
        "users": len(users),
        "views": views,
        **consistency,
        "version": grouped["version"],
        "seconds": round(time.monotonic() - started, 2),
    }


class MergePriors(apache_beam.CombineFn):
    """Sums of a group's users, put together in any order."""

    def create_accumulator(self) -> Prior:
        return Prior()

    def add_input(self, accumulator: Prior, element: Prior) -> Prior:
        accumulator.merge(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Prior]) -> Prior:
        found = Prior()
        for accumulator in accumulators:
            found.merge(accumulator)
        return found

    def extract_output(self, accumulator: Prior) -> Prior:
        return accumulator


def _sum_up(pieces: list[Piece], step: _Read, config: BeamConfig) -> None:
    """Leaves ``groups/*.parquet`` (the rows of the groups) and, to leave users out, ``sums/*.pickle``."""
    for name in ("groups", "sums"):
        (step.staging / name).mkdir()

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Pieces" >> apache_beam.Create(pieces)
            | "OneAWorker" >> apache_beam.Reshuffle()
            | "Sums" >> apache_beam.FlatMap(_group_sums, step)
            | "Merge" >> apache_beam.CombinePerKey(MergePriors()).with_hot_key_fanout(step.priors.fanout)
            | "Shard" >> apache_beam.Map(_to_shard, step.shards)
            | "Group" >> apache_beam.GroupByKey()
            | "Keep" >> apache_beam.Map(_keep_groups, step)
        )

    run_pipeline(config, build)


def _group_sums(piece: Piece, step: _Read) -> Iterator[tuple[str, Prior]]:
    """The sums of a piece's users in each of their groups."""
    names = _names(step.groups)
    found: dict[str, Prior] = {}
    for _, codes, own in _own_sums(piece, step):
        for group in user_groups.prefixes(codes, names):
            found.setdefault(group, Prior()).merge(own)
    yield from found.items()


def _own_sums(piece: Piece, step: _Read) -> Iterator[tuple[str, list[int], Prior]]:
    """Each user of a piece: id, codes and the sums of that user alone."""
    users = user_pieces.rows_of(step.tables / "users.parquet", piece, ["user_id", *step.attributes])
    codes = user_pieces.rows_of(step.groups / user_groups.USERS, piece, ["codes"])["codes"].to_pylist()
    columns = ["user_id", "item_id", EVENT_TIME, "event_type"]
    events = user_pieces.rows_of(step.tables / "events.parquet", piece, columns)
    before = pc.less(events[EVENT_TIME].cast(pa.int64()), step.end)
    bought = pc.and_(before, pc.equal(events["event_type"], step.priors.purchase)) if step.priors.purchase else before
    events = events.filter(bought)
    purchases: dict[str, list[tuple[str, int]]] = {}
    times = events[EVENT_TIME].cast(pa.int64()).to_pylist()
    for user, item, moment in zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), times, strict=True):
        purchases.setdefault(user, []).append((item, moment))
    for row, own in zip(users.to_pylist(), codes, strict=True):
        user, sums = row.pop("user_id"), Prior()
        sums.add_user(row)
        for item, moment in purchases.get(user, ()):
            sums.add_purchases(item, 1, moment)
        yield user, own, sums
    advance(JOB, len(users))


def _to_shard(element: tuple[str, Prior], shards: int) -> tuple[int, tuple[str, Prior]]:
    return _shard(element[0], shards), element


def _shard(group: str, shards: int) -> int:
    return zlib.crc32(group.encode()) % shards


def _keep_groups(shard: tuple[int, Iterable[tuple[str, Prior]]], step: _Read) -> int:
    number, sums = shard[0], dict(shard[1])
    of_item, rows = user_pieces.categories(step.tables, step.priors.categories_of), []
    for group, prior in sums.items():
        attributes, categories = prior.consistency(of_item, step.priors.consistency_categories)
        told = {"group": group, "attribute_consistency": attributes, "category_consistency": categories}
        rows.append(told | prior.row(step.attributes, of_item, step.priors.categories, step.priors.length))
    columns = [pa.field("attribute_consistency", pa.float64()), pa.field("category_consistency", pa.float64())]
    schema = pa.schema([*arrow(step.schema, "group"), *columns])
    write_parquet(step.staging / "groups" / f"{number:05d}.parquet", pa.Table.from_pylist(rows, schema))
    if step.priors.leave_one_out:
        path = step.staging / "sums" / f"{number:05d}.pickle"
        temporary = path.with_suffix(".part")
        temporary.write_bytes(pickle.dumps(sums))
        temporary.rename(path)
    return number


def _leave_out(pieces: list[Piece], step: _Read, config: BeamConfig) -> None:
    """Leaves ``users/*.parquet``: of each user's group, without that user."""
    (step.staging / "users").mkdir()

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Pieces" >> apache_beam.Create(list(enumerate(pieces)))
            | "OneAWorker" >> apache_beam.Reshuffle()
            | "LeaveOut" >> apache_beam.Map(_keep_users, step)
        )

    run_pipeline(config, build)


def _keep_users(element: tuple[int, Piece], step: _Read) -> int:
    number, piece = element
    of_item, names, rows = user_pieces.categories(step.tables, step.priors.categories_of), _names(step.groups), []
    for user, codes, own in _own_sums(piece, step):
        group = user_groups.prefixes(codes, names)[-1]
        rest = _sums(step.staging, _shard(group, step.shards))[group].copy()
        rest.merge(own, -1)
        rows.append({"user_id": user} | rest.row(step.attributes, of_item, step.priors.categories, step.priors.length))
        advance(f"{JOB} of users", 1)
    rows_table = pa.Table.from_pylist(rows, arrow(step.schema, "user_id"))
    write_parquet(step.staging / "users" / f"{number:05d}.parquet", rows_table)
    return number


@lru_cache(maxsize=2)
def _names(groups: Path) -> frozenset[str]:
    return user_groups.group_names(groups)


@lru_cache(maxsize=8)
def _sums(staging: Path, shard: int) -> dict[str, Prior]:
    return pickle.loads((staging / "sums" / f"{shard:05d}.pickle").read_bytes())


def _assemble(database: duckdb.DuckDBPyConnection, staged: Path, path: Path, schema: pa.Schema, key: str) -> int:
    """Staged rows as one file, sorted by key; returns their number."""
    rows = database.read_parquet(str(staged / "*.parquet")).order(f'"{key}"')
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in rows.to_arrow_reader(1 << 14):
            writer.write_batch(batch.select(schema.names).cast(schema))
            count += batch.num_rows
    return count


def _consistency(database: duckdb.DuckDBPyConnection, staged: Path, users: Path) -> dict[str, float | None]:
    """Means over users of what their groups have."""
    query = """
        SELECT avg(attribute_consistency), avg(category_consistency)
        FROM read_parquet(?) u JOIN read_parquet(?) g USING ("group")
    """
    found = database.execute(query, [str(users), str(staged / "*.parquet")]).fetchone()
    names = ("attribute_consistency", "category_consistency")
    return {name: None if value is None else round(value, 6) for name, value in zip(names, found, strict=True)}
