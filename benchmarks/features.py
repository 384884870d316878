"""Online features on SQLite and Redis: latency of reads, and bulk writes beside Feast's own materialization.

The view is `user_history`: a list of item ids and a count a user. A read is `OnlineStore.read`, decoding included, of
users drawn at random; on Redis it is one round trip, however many they are. Both bulk writes go from the same Parquet
file to an empty store of the same kind: ours as `antiphon features` does it in one process, Feast's is
`FeatureStore.materialize` of the same repository; they take turns, after one each that is not counted. Where other work
fills the machine, compare by processor time: the clock then tells how long each waited for its turn. Redis is a
server of the benchmark's own, or `--redis`, in a project of its own. Prints one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from benchmarks import _machine
from feature_store import definitions
from feature_store.build import latest
from feature_store.config import OnlineStoreConfig
from feature_store.online import open_online_store
from feature_store.schema import Schema

ENTITIES = (1, 100, 1000)
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench features", description=__doc__)
    parser.add_argument("--users", type=int, default=50_000, help="keys written, and read from (%(default)s)")
    parser.add_argument("--length", type=int, default=50, help="items of a history (%(default)s)")
    parser.add_argument("--reads", type=int, default=1000, help="reads of each size (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of bulk writes (%(default)s)")
    parser.add_argument("--redis", default="", metavar="HOST:PORT", help="a server to use; it is written to")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if options.users < max(ENTITIES) or min(options.length, options.reads, options.rounds) < 1:
        parser.error(f"--users must be at least {max(ENTITIES)}, --length, --reads and --rounds at least 1")
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, _redis(options.redis, Path(name)) as address:
        write_view(Path(name) / "user_history.parquet", options)
        stores = {"sqlite": OnlineStoreConfig()}
        if address:
            stores["redis"] = OnlineStoreConfig("redis", address)
        for kind, online in stores.items():
            figures[kind] = measure(Path(name), online, options)
    print(json.dumps({"benchmark": "features", **vars(options), **figures, "machine": _machine.describe()}))
    return 0


def write_view(path: Path, options: argparse.Namespace) -> None:
    """One row a user, of the last hundred days."""
    random = np.random.default_rng(options.seed)
    seconds = random.integers(0, 100 * 86_400, options.users)
    times = pa.array((int(NEWEST.timestamp()) - seconds) * 1_000_000).cast(pa.timestamp("us", tz="UTC"))
    items = pa.array(random.integers(0, 1_000_000, options.users * options.length)).cast(pa.string())
    offsets = pa.array(np.arange(options.users + 1) * options.length, pa.int32())
    counts = pa.array([options.length] * options.users)
    columns = [pa.array(_keys(options)), times, times, pa.ListArray.from_arrays(offsets, items), counts]
    table = pa.table([column.cast(field.type) for column, field in zip(columns, _schema(options), strict=True)],
                     schema=_schema(options))  # fmt: skip
    pq.write_table(table, path)


def measure(folder: Path, online: OnlineStoreConfig, options: argparse.Namespace) -> dict[str, Any]:
    """Rates of both bulk writes in rows a second, by the clock and by this process's processor time, and the latency of
    reads of each size in milliseconds."""
    seconds: dict[str, list[float]] = {"ours": [], "feast": []}
    processor: dict[str, list[float]] = {"ours": [], "feast": []}
    repository = folder
    for turn in tqdm(range(options.rounds + 1), desc=f"bulk writes, {online.kind}", unit="pair"):
        for way in sorted(seconds, reverse=bool(turn % 2)):
            repository = _empty_store(folder, online)
            start, begun = time.perf_counter(), time.process_time()
            (_write_ours if way == "ours" else _write_feast)(repository, options)
            if turn:
                seconds[way].append(time.perf_counter() - start)
                processor[way].append(time.process_time() - begun)
            _check(repository, options)
    rates = {way: round(options.users / statistics.median(taken), 1) for way, taken in seconds.items()}
    return {
        "write_rows_per_second": rates,
        "write_over_feast": _over_feast(seconds),
        "write_processor_microseconds_per_row": {
            way: round(1e6 * statistics.median(taken) / options.users, 1) for way, taken in processor.items()
        },
        "write_over_feast_by_processor": _over_feast(processor),
        "read_ms_by_entities": _read(repository, options),
    }


def _over_feast(seconds: dict[str, list[float]]) -> float:
    """How many times as fast ours is, the median over the turns."""
    ratios = [theirs / mine for mine, theirs in zip(seconds["ours"], seconds["feast"], strict=True)]
    return round(statistics.median(ratios), 2)


def _write_ours(repository: Path, options: argparse.Namespace) -> None:
    schema = Schema(history_length=options.length)
    with open_online_store(repository, schema) as store:
        for rows in latest(repository.parent / "user_history.parquet", schema.view("user_history")):
            store.write("user_history", rows)


def _write_feast(repository: Path, options: argparse.Namespace) -> None:
    store = definitions.open_feast(repository)
    with contextlib.chdir(repository):  # its DuckDB store looks for relative paths where it runs
        span = NEWEST - timedelta(days=101), NEWEST + timedelta(days=1)
        store.materialize(*span, feature_views=["user_history"])


def _empty_store(folder: Path, online: OnlineStoreConfig) -> Path:
    """An applied repository beside the view's file, in a project of its own."""
    repository = folder / "feature_repo"
    shutil.rmtree(repository, ignore_errors=True)
    (folder / "online.db").unlink(missing_ok=True)
    schema = Schema()
    definitions.write_repository(repository, schema, online, project=f"bench_{uuid.uuid4().hex}")
    for other in ("user_profile", "item_profile"):
        pq.write_table(schema.view(other).arrow().empty_table(), folder / f"{other}.parquet")
    definitions.apply(repository)
    return repository


def _check(repository: Path, options: argparse.Namespace) -> None:
    """Raises RuntimeError where a user's features were not written."""
    with open_online_store(repository, Schema()) as store:
        for row in store.read("user_history", _keys(options)):
            if len(row["history"]) != options.length:
                raise RuntimeError(f"{repository}: a history of {options.length} items was not written, got {row}")


def _read(repository: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Percentiles of a read's milliseconds, by its number of entities.

    What Feast and the writes left in memory is kept from the garbage collector: looking through it took 170 ms of one
    read in a hundred, and a process that only reads has none of it.
    """
    random, keys = np.random.default_rng(options.seed), _keys(options)
    figures = {}
    gc.collect()
    gc.freeze()
    with open_online_store(repository, Schema()) as store:
        for count in ENTITIES:
            seconds = []
            for _ in range(options.reads):
                asked = [keys[number] for number in random.integers(0, len(keys), count)]
                start = time.perf_counter()
                store.read("user_history", asked)
                seconds.append(time.perf_counter() - start)
            figures[str(count)] = {
                f"p{percent}": round(float(np.percentile(seconds, percent)) * 1e3, 3) for percent in (50, 99)
            }
    gc.unfreeze()
    return figures


def _keys(options: argparse.Namespace) -> list[str]:
    return [f"user-{number}" for number in range(options.users)]


def _schema(options: argparse.Namespace) -> pa.Schema:
    return Schema(history_length=options.length).view("user_history").arrow()


@contextlib.contextmanager
def _redis(address: str, folder: Path) -> Iterator[str]:
    """`address`, or that of a server of our own; "" where there is no redis-server."""
    binary = shutil.which("redis-server")
    if address or not binary:
        yield address
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if time.monotonic() > end or server.poll() is not None:
                raise RuntimeError(f"redis-server did not start: {' '.join(command)}")
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
