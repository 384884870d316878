"""Profiles' vectors to groups of users: a codebook learnt from a sample outside Beam, codes assigned inside it.

A group is the longest prefix of a user's codes that at least ``min_members`` users share; a user without a vector is in
the group of everybody. What is written depends neither on the order of arrival nor on the pieces.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import apache_beam
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from beam_jobs.io import advance, progress, run_pipeline, staging_folder, write_parquet
from beam_jobs.options import BeamConfig
from beam_jobs.profiles import KIND as PROFILES
from beam_jobs.profiles import USERS as PROFILED
from feature_store import folders, user_groups
from feature_store.errors import DataError
from feature_store.hashing import uniform
from feature_store.user_groups import CODEBOOK, GROUPS, GROUPS_SCHEMA, USERS, USERS_SCHEMA
from llm_offline import rq_kmeans
from llm_offline.profile_config import GroupConfig

JOB = "groups"
_SALT = "groups-sample"
_ROWS = 1 << 14  # vectors assigned at a time

Piece = tuple[str, int]  # a file of profiles, and a row group


def run(profiles: Path, out: Path, groups: GroupConfig, beam: BeamConfig) -> dict[str, Any]:
    """Writes ``out/codebook.npz`` (levels (M, k, D)), ``users.parquet`` (`USERS_SCHEMA`, sorted by user_id) and
    ``groups.parquet`` (`GROUPS_SCHEMA`, sorted by group, everybody ("") among them).

    With ``groups.keep`` the codebook, the groups and their version are those of that folder; only users are new.

    Returns:
        version, users by the level of their group, groups by level; for each level the mean squared residual after it
        over that before the first (``error``), how even its centroids are (``balance``: the exponential of the entropy
        of their shares, over k) and how many no user has (``dead``); seconds.
    Raises:
        DataError: the profiles are not whole, or made otherwise than those that the kept groups were learnt from.
        ValueError: there are fewer profiles than centroids.
    """
    started, profiles, out = time.monotonic(), Path(profiles), Path(out)
    made = folders.read_manifest_of(PROFILES, profiles / PROFILED, "profiles")
    pieces = _pieces(profiles / PROFILED, made)
    if groups.keep:
        kept = _kept(Path(groups.keep), made["model_id"])
        levels, fitted_on, version = user_groups.codebook(Path(groups.keep)), kept["fitted_on"], kept["version"]
    else:
        names = ("model_id", "training_end", "tables", "profiles")
        settings = {name: value for name, value in asdict(groups).items() if name != "keep"}
        fitted_on = {name: made[name] for name in names} | {"groups": settings}
        levels = rq_kmeans.fit(_sample(pieces, made["rows"], groups.sample), groups)
        version = user_groups.version_of(levels, fitted_on)
    with staging_folder(out) as staging:
        np.savez(staging / CODEBOOK, levels=levels)
        with progress(JOB, "user", made["rows"]):
            _assign(pieces, staging, beam)
        with folders.new_folder(out) as folder, duckdb.connect() as database:
            database.read_parquet(str(staging / "codes" / "*.parquet")).create_view("coded")
            (staging / CODEBOOK).rename(folder / CODEBOOK)
            _write_groups(database, folder / GROUPS, len(levels), groups)
            _write_users(database, folder / USERS, folder / GROUPS, len(levels))
            report = _report(database, levels, folder, staging)
            files = {name: folders.describe(folder / name, folder) for name in (CODEBOOK, USERS, GROUPS)}
            manifest = {
                "kind": user_groups.KIND, "version": version, "levels": len(levels), "k": levels.shape[1],
                "width": levels.shape[2], "min_members": groups.min_members, "training_end": made["training_end"],
                "model_id": made["model_id"], "fitted_on": fitted_on, **report, "files": files,
            }  # fmt: skip
            folders.write_manifest(folder, manifest)
    return {"version": version, **report, "seconds": round(time.monotonic() - started, 2)}


def _kept(folder: Path, model_id: str) -> dict[str, Any]:
    manifest = user_groups.read(folder, hashes=True)
    folders.require_model(manifest, model_id, folder)
    return manifest


def _pieces(profiles: Path, manifest: dict[str, Any]) -> list[Piece]:
    paths = [profiles / part["file"] for part in manifest["files"]]
    return [(str(path), n) for path in paths for n in range(pq.read_metadata(path).num_row_groups)]


def _vectors(piece: Piece) -> Iterator[tuple[pa.Array, np.ndarray, np.ndarray]]:
    """User ids (n,), whether there is a vector (n,), and the vectors that there are (m, D)."""
    path, group = piece
    for batch in pq.ParquetFile(path).iter_batches(_ROWS, row_groups=[group], columns=["user_id", "vector"]):
        there = batch["vector"].is_valid().to_numpy(zero_copy_only=False)
        values = batch["vector"].flatten().to_numpy()
        yield batch["user_id"], there, values.reshape(there.sum(), -1) if there.any() else np.empty((0, 0))


def _sample(pieces: list[Piece], users: int, size: int) -> np.ndarray:
    """The vectors of a share of the users that makes about ``size`` of them, by a hash of their ids.

    Raises:
        DataError: no user has a vector.
    """
    share, chosen = size / users, []
    for piece in tqdm(pieces, desc="groups sample", unit="piece", delay=2):
        for ids, there, vectors in _vectors(piece):
            named = ids.filter(pa.array(there)).to_pylist()
            chosen.append(vectors[[uniform(_SALT, user) < share for user in named]] if named else None)
    chosen = [part for part in chosen if part is not None and len(part)]
    if not chosen:
        raise DataError("no user has a vector", field="vector")
    return np.concatenate(chosen)


def _assign(pieces: list[Piece], staging: Path, config: BeamConfig) -> None:
    """Leaves ``codes/*.parquet`` (user_id, codes) and ``errors/*.npy`` of each piece in the staging folder."""
    for name in ("codes", "errors"):
        (staging / name).mkdir()

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Pieces" >> apache_beam.Create(list(enumerate(pieces)))
            | "OneAWorker" >> apache_beam.Reshuffle()
            | "Assign" >> apache_beam.ParDo(_Assign(staging))
        )

    run_pipeline(config, build)


class _Assign(apache_beam.DoFn):
    """Writes the codes of a piece; a bundle that is run again writes the same."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._levels = np.empty(0)

    def setup(self) -> None:
        with np.load(self._staging / CODEBOOK) as arrays:
            self._levels = arrays["levels"]

    def process(self, element: tuple[int, Piece]) -> None:
        number, piece = element
        tables, errors = [], np.zeros(len(self._levels) + 1)
        for ids, there, vectors in _vectors(piece):
            codes: list[list[int]] = [[]] * len(there)
            if len(vectors):
                found = rq_kmeans.assign(self._levels, vectors)
                errors += found.errors
                for row, own in zip(np.flatnonzero(there), found.codes.tolist(), strict=True):
                    codes[row] = own
            column = pa.array(codes, USERS_SCHEMA.field("codes").type)
            tables.append(pa.table({"user_id": ids, "codes": column}))
            advance(JOB, len(there))
        write_parquet(self._staging / "codes" / f"{number:05d}.parquet", pa.concat_tables(tables))
        np.save(self._staging / "errors" / f"{number:05d}.npy", errors)


def _write_groups(database: duckdb.DuckDBPyConnection, path: Path, levels: int, config: GroupConfig) -> None:
    """The prefixes that enough users share, or those of the groups that are kept."""
    if config.keep:
        rows = pq.read_table(Path(config.keep) / GROUPS)
    else:
        counted = " UNION ALL ".join(
            f"""SELECT array_to_string(codes[1:{level}], '-') AS "group", CAST({level} AS INTEGER) AS level,
                count(*) AS members FROM coded WHERE len(codes) > 0 GROUP BY 1
                HAVING count(*) >= {config.min_members}"""
            for level in range(1, levels + 1)
        )
        everybody = "SELECT '' AS \"group\", CAST(0 AS INTEGER) AS level, count(*) AS members FROM coded"
        rows = database.sql(f'{everybody} UNION ALL {counted} ORDER BY "group"').to_arrow_table()
    pq.write_table(rows.cast(GROUPS_SCHEMA), path, compression="zstd")


def _write_users(database: duckdb.DuckDBPyConnection, path: Path, groups: Path, levels: int) -> None:
    database.read_parquet(str(groups)).create_view("kept")
    joins, names, depths = "", [], []
    for level in range(1, levels + 1):
        parent = f"AND k{level - 1}.\"group\" IS NOT NULL" if level > 1 else ""
        joins += f"""
            LEFT JOIN kept k{level} ON k{level}.level = {level}
                AND k{level}."group" = array_to_string(c.codes[1:{level}], '-') {parent}"""
        names.insert(0, f'k{level}."group"')
        depths.insert(0, f"k{level}.level")
    query = f"""
        SELECT c.user_id, c.codes, coalesce({", ".join(names)}, '') AS "group",
            CAST(coalesce({", ".join(depths)}, 0) AS INTEGER) AS level
        FROM coded c {joins} ORDER BY c.user_id
    """
    with pq.ParquetWriter(path, USERS_SCHEMA, compression="zstd") as writer:
        for batch in database.sql(query).to_arrow_reader(1 << 17):
            writer.write_table(pa.Table.from_batches([batch]).cast(USERS_SCHEMA))


def _report(database: duckdb.DuckDBPyConnection, levels: np.ndarray, folder: Path, staging: Path) -> dict[str, Any]:
    errors = np.sum([np.load(path) for path in sorted((staging / "errors").glob("*.npy"))], axis=0)  # (M + 1,)
    per_level = []
    for level in range(len(levels)):
        query = f"SELECT codes[{level + 1}], count(*) FROM coded WHERE len(codes) > 0 GROUP BY 1 ORDER BY 1"
        share = np.array([count for _, count in database.sql(query).fetchall()], float)
        share /= share.sum()
        balance = float(np.exp(-(share * np.log(share)).sum()) / levels.shape[1])
        error = float(errors[level + 1] / errors[0])
        per_level.append({"error": error, "balance": balance, "dead": levels.shape[1] - len(share)})
    users = pq.read_table(folder / USERS, columns=["level"])["level"].value_counts().to_pylist()
    groups = pq.read_table(folder / GROUPS, columns=["level"])["level"].value_counts().to_pylist()
    by_level = {
        name: {str(row["values"]): row["counts"] for row in sorted(counts, key=lambda row: row["values"])}
        for name, counts in (("users", users), ("groups", groups))
    }
    return {**by_level, "per_level": per_level}
