"""A steady load for some minutes while everything under it changes: failed requests, latency, memory.

Clients read a user's history from Redis and ask a server for recommendations, over gRPC and REST. Meanwhile new
versions roll in, a broken one is dropped in, and Redis is killed and started again. Where Redis does not answer, the
schema's defaults are asked with, which is counted. Prints one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from tqdm import tqdm

from benchmarks import _exported, _machine, serving
from feature_store.online_redis import RedisOnlineStore
from feature_store.schema import Schema
from serving.client import Client

VIEW = "user_history"
CHANGES = ("version", "broken", "redis")  # in turn, each at least once
KEPT_VERSIONS = 3  # folders that stay; the server answers from the newest that loads


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench soak", description=__doc__)
    _exported.add(parser)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two changes")
    parser.add_argument("--clients", type=int, default=4, help="clients at once, half of them over REST")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second of each client, at most")
    options = parser.parse_args(argv)
    if min(options.minutes, options.every, options.clients, options.rate) <= 0:
        parser.error("--minutes, --every, --clients and --rate must be above 0")
    try:
        model = _exported.version(options.model)
        histories = serving.read_histories(model)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(measure(model, histories, options)))
    return 0


def measure(model: Path, histories: list[list[str]], options: argparse.Namespace) -> dict[str, Any]:
    """What the load saw."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        versions = work / "versions"
        versions.mkdir()
        _publish(model, versions, 1)
        redis = stack.enter_context(_Redis(work / "redis"))
        schema = Schema(history_length=max(map(len, histories)))
        _write(redis, schema, histories)
        server = stack.enter_context(serving.serve_folder(versions, "--file_system_poll_wait_seconds=0.2"))
        process = psutil.Process(int(server["pid"]))
        load = _Load(server, f"{redis.address},socket_timeout=0.5,socket_connect_timeout=0.5", schema, options)
        load.start(len(histories))
        memory, changes = [process.memory_info().rss], Counter[str]()
        end = time.monotonic() + options.minutes * 60
        number = 1
        with tqdm(total=round(options.minutes * 60), desc="soak", unit="s") as bar:
            while (left := end - time.monotonic()) > 0 or changes.total() < len(CHANGES):
                pause = min(options.every, left) if left > 0 else options.every
                time.sleep(pause)
                bar.update(round(pause))
                change = CHANGES[changes.total() % len(CHANGES)]
                changes[change] += 1
                if change == "redis":
                    redis.restart()
                else:
                    number += 1
                    _publish(model, versions, number, broken=change == "broken")
                memory.append(process.memory_info().rss)
        load.stop()
        memory.append(process.memory_info().rss)
        return {
            "benchmark": "soak",
            "machine": _machine.describe(),
            "minutes": options.minutes,
            "clients": options.clients,
            "changes": dict(changes),
            **load.report(),
            "memory_mib": {name: round(size / 2**20) for name, size in
                           (("start", memory[0]), ("most", max(memory)), ("end", memory[-1]))},
        }  # fmt: skip


class _Load:
    """Clients that each ask at a steady rate and note what came of it."""

    def __init__(self, server: dict[str, str], connection: str, schema: Schema, options: argparse.Namespace):
        self._server, self._connection, self._schema, self._options = server, connection, schema, options
        self._told = threading.Event()
        self._lock = threading.Lock()
        self._seconds: list[float] = []
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._versions: set[int] = set()
        self._threads: list[threading.Thread] = []

    def start(self, users: int) -> None:
        ask = [threading.Thread(target=self._ask, args=(n, users)) for n in range(self._options.clients)]
        self._threads = ask
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._told.set()
        for thread in self._threads:
            thread.join()

    def report(self) -> dict[str, Any]:
        quantiles = {f"p{q}_ms": round(float(np.percentile(self._seconds or [0], q)) * 1e3, 3) for q in (50, 99)}
        named = {name: self._counts[name] for name in ("answered", "failed", "defaulted")}
        return {**named, "errors": dict(self._errors), "versions": sorted(self._versions), **quantiles}

    def _ask(self, number: int, users: int) -> None:
        rest = number % 2 == 1
        address = self._server["rest" if rest else "grpc"]
        store = RedisOnlineStore(self._schema, "soak", self._connection)
        with store, Client(address, serving.MODEL, rest=rest, timeout=30) as client:
            turn = number
            while not self._told.wait(1 / self._options.rate):
                self._once(store, client, f"u{turn % users}")
                turn += self._options.clients

    def _once(self, store: RedisOnlineStore, client: Client, user: str) -> None:
        from redis.exceptions import RedisError

        start = time.perf_counter()
        defaulted, version, error = False, None, None
        try:
            features = store.read(VIEW, [user])[0]
        except RedisError:
            features, defaulted = self._schema.view(VIEW).defaults(), True
        try:
            version = client.predict({"history": [["", *features["history"]]]}, "serving_default").version
        except Exception as failure:
            error = failure
        with self._lock:
            self._seconds.append(time.perf_counter() - start)
            self._counts["failed" if error else "answered"] += 1
            self._counts["defaulted"] += defaulted
            if error:
                self._errors[f"{type(error).__name__}: {error}"[:200]] += 1
            if version is not None:
                self._versions.add(version)


class _Redis:
    """A Redis server of its own, which keeps its data over a restart."""

    def __init__(self, folder: Path):
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._folder = folder
        self.address = f"127.0.0.1:{self._port}"

    def __enter__(self) -> _Redis:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Kills it and starts it on what it had written."""
        self.__exit__()
        self._start()

    def _start(self) -> None:
        options = ("--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder))
        kept = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        self._process = subprocess.Popen(["redis-server", *options, *kept], stdout=subprocess.DEVNULL)


def _write(redis: _Redis, schema: Schema, histories: list[list[str]]) -> None:
    now = datetime.now(UTC)
    rows = [
        {"user_id": f"u{n}", "event_time": now, "created_time": now, "history": history, "event_count": len(history)}
        for n, history in enumerate(histories)
    ]
    from redis.exceptions import RedisError

    with RedisOnlineStore(schema, "soak", redis.address) as store:
        for _ in range(100):  # until it answers
            with suppress(RedisError):
                store.write(VIEW, pa.RecordBatch.from_pylist(rows, schema.view(VIEW).arrow()))
                return
            time.sleep(0.1)
    raise RuntimeError("redis-server did not start")


def _publish(model: Path, versions: Path, number: int, broken: bool = False) -> None:
    """Puts a version there in one step, and takes those away that are old."""
    scratch = versions / f".writing-{number}"
    shutil.copytree(model, scratch)
    if broken:
        (scratch / "saved_model.pb").write_bytes(b"\xff\xff")
    scratch.rename(versions / str(number))
    good = [folder for folder in versions.iterdir() if folder.name.isdecimal()]
    for folder in sorted(good, key=lambda folder: int(folder.name))[:-KEPT_VERSIONS]:
        shutil.rmtree(folder)


if __name__ == "__main__":
    raise SystemExit(main())
