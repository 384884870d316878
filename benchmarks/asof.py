"""The point-in-time join beside DuckDB's bare ASOF JOIN and Feast's DuckDB join: `antiphon bench asof`.

Same Parquet files for all three: feature rows of random users and times, label rows likewise. Ours and the
bare join take turns, after one turn each that is not counted; the ratio is the median of the pairs' ratios.
Ours does more: ties by creation time, defaults for what is missing. Feast's join runs once. It pairs each
label with all earlier rows of its user, so its time grows with rows per user: fewer `--users` show it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from benchmarks import _machine
from feature_store import definitions
from feature_store.asof import asof_join
from feature_store.config import OnlineStoreConfig
from feature_store.database import connect
from feature_store.schema import Field, Schema

SCHEMA = Schema(user_attributes=(Field("clicks", "int64"), Field("spent", "float32")))
VIEW = SCHEMA.view("user_profile")
SPAN = 10**13  # microseconds, some 116 days


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench asof", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3_000_000, help="feature rows (%(default)s)")
    parser.add_argument("--labels", type=int, default=50_000, help="label rows (%(default)s)")
    parser.add_argument("--users", type=int, default=100_000, help="distinct users (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of runs (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="DuckDB threads; 0 is one a core")
    parser.add_argument("--no-feast", dest="feast", action="store_false", help="leave Feast's join out")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, options)
        figures = compare(folder, options)
        if options.feast:
            theirs = feast(folder)
            over_ours = round(theirs["seconds"] / figures["ours_seconds"], 1)
            agrees = theirs["sum"] == figures["sum"]
            figures["feast"] = {**theirs, "over_ours": over_ours, "agrees": agrees}
    print(json.dumps({"benchmark": "asof", **vars(options), **figures, "machine": _machine.describe()}))
    return 0


def write_data(folder: Path, options: argparse.Namespace) -> None:
    """``user_profile.parquet`` and ``labels.parquet``: users uniform, times uniform, rows in no order."""
    random = np.random.default_rng(options.seed)

    def users(count: int) -> pa.Array:
        return pa.array(random.integers(0, options.users, count)).cast(pa.string())

    def times(count: int) -> pa.Array:
        return pa.array(random.integers(0, SPAN, count)).cast(pa.timestamp("us", tz="UTC"))

    moment = times(options.rows)
    clicks, spent = random.integers(0, 1000, options.rows), random.random(options.rows, np.float32)
    columns = [users(options.rows), moment, moment, pa.array(clicks), pa.array(spent)]
    pq.write_table(pa.table(columns, schema=VIEW.arrow()), folder / "user_profile.parquet")
    labels = {"user_id": users(options.labels), "label_time": times(options.labels)}
    pq.write_table(pa.table(labels), folder / "labels.parquet")


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ours and the bare join, in turns. Raises RuntimeError where one loses or repeats a label row."""
    joins: dict[str, Callable[[], pa.Table]] = {
        "ours": lambda: ours(folder, options.threads),
        "bare": lambda: bare(folder, options.threads),
    }
    seconds: dict[str, list[float]] = {name: [] for name in joins}
    totals = {}
    for turn in tqdm(range(options.rounds + 1), desc="pairs", unit="pair"):
        for name in sorted(joins, reverse=bool(turn % 2)):
            started = time.perf_counter()
            table = joins[name]()
            if turn:
                seconds[name].append(time.perf_counter() - started)
            if table.num_rows != options.labels:
                raise RuntimeError(f"{name}: {options.labels} label rows in, {table.num_rows} out")
            totals[name] = int(pc.sum(table["clicks"]).as_py() or 0)
    if totals["ours"] != totals["bare"]:
        raise RuntimeError(f"the joins differ: clicks sum to {totals}")
    ratios = [mine / theirs for mine, theirs in zip(seconds["ours"], seconds["bare"], strict=True)]
    return {
        "sum": totals["ours"],
        "ours_seconds": round(statistics.median(seconds["ours"]), 4),
        "bare_seconds": round(statistics.median(seconds["bare"]), 4),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "label_rows_out": table.num_rows,
    }


def ours(folder: Path, threads: int) -> pa.Table:
    labels, features = folder / "labels.parquet", folder / "user_profile.parquet"
    return pa.Table.from_batches(asof_join(labels, features, VIEW, threads=threads))


def bare(folder: Path, threads: int) -> pa.Table:
    connection = connect(threads)
    query = """
        SELECT l.*, f.clicks, f.spent
        FROM read_parquet(?) l ASOF LEFT JOIN read_parquet(?) f
            ON l.user_id = f.user_id AND l.label_time > f.event_time
    """
    files = [str(folder / "labels.parquet"), str(folder / "user_profile.parquet")]
    return connection.sql(query, params=files).to_arrow_table()


def feast(folder: Path) -> dict[str, Any]:
    """Feast's DuckDB offline store on the same files. It takes rows up to and including the label's time."""
    repository = folder / "feature_repo"
    definitions.write_repository(repository, Schema(SCHEMA.user_attributes), OnlineStoreConfig())
    for other in ("user_history", "item_profile"):
        pq.write_table(SCHEMA.view(other).arrow().empty_table(), folder / f"{other}.parquet")
    definitions.apply(repository)
    labels = (
        pq.read_table(folder / "labels.parquet").rename_columns(["user_id", "event_timestamp"]).to_pandas()
    )
    store = definitions.open_feast(repository)
    names = [f"{VIEW.name}:{field.name}" for field in VIEW.features]
    with contextlib.chdir(repository):  # its DuckDB store looks for relative paths where it runs
        started = time.perf_counter()
        table = store.get_historical_features(entity_df=labels, features=names).to_arrow()
        seconds = time.perf_counter() - started
    total = int(pc.sum(table["clicks"]).as_py() or 0)
    return {"seconds": round(seconds, 2), "label_rows_out": table.num_rows, "sum": total}
