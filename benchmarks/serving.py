"""Latency of the embedded server over gRPC and REST, with and without batching, beside the same SavedModel in process.

The requests are those of the model's own warmup file: one real history each. Every client is a process of
its own that asks its next question when the last is answered, so that no client waits for another's
interpreter; clients, server and model share the machine's cores. In process, one thread or as many as there
are clients call the function that `tf.saved_model.load` gives back, histories to arrays included, as a
program without a server would. Two servers run, the second with `--enable_batching`: at most 32 rows a batch,
which waits at most a millisecond. The settings are measured in turn, `--rounds` times; a figure is over all
rounds. Prints one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import _exported, _machine
from serving.client import Client

MODEL = "model"
WARM = 20  # requests of each client before the clock runs
READY_SECONDS = 300.0
THREADS = 64  # of a server, for each of gRPC and REST: a request that waits for its batch holds one
BATCHING = """max_batch_size { value: 32 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 100 }
pad_variable_length_inputs: true
"""

Ask = Callable[[list[str]], object]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench serving", description=__doc__)
    _exported.add(parser)
    parser.add_argument("--requests", type=int, default=2000, help="requests of each setting in each round")
    parser.add_argument("--rounds", type=int, default=3, help="how often each setting is measured")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="clients at once")
    options = parser.parse_args(argv)
    if min(options.requests, options.rounds, *options.clients) < 1:
        parser.error("--requests, --rounds and --clients must be at least 1")
    try:
        model = _exported.version(options.model)
        histories = read_histories(model)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(measure(model, histories, options.requests, options.rounds, options.clients)))
    return 0


def read_histories(model: Path) -> list[list[str]]:
    """The histories of a SavedModel's recorded requests.

    Raises:
        FileNotFoundError: there is no SavedModel, or it has no warmup file.
        ValueError: its warmup file holds no request of a history.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from serving.warmup import WARMUP_FILE

    for path in (model / "saved_model.pb", model / WARMUP_FILE):
        if not path.is_file():
            raise FileNotFoundError(f"--model {model}: no {path.name} in it")
    histories = []
    for record in tf.data.TFRecordDataset(str(model / WARMUP_FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        if request.model_spec.signature_name in ("", "serving_default") and "history" in request.inputs:
            rows = tf.make_ndarray(request.inputs["history"])
            histories += [[item.decode() for item in row if item] for row in rows]
    if not histories:
        raise ValueError(f"--model {model}: its {WARMUP_FILE} holds no history")
    return histories


def measure(
    model: Path, histories: list[list[str]], requests: int, rounds: int, clients: list[int]
) -> dict[str, Any]:
    """Latency in milliseconds and requests a second of each way, by the number of clients."""
    in_process = _in_process(model)
    figures: dict[tuple[str, int], list[tuple[np.ndarray, float]]] = {}
    with serve(model) as plain, serve(model, batching=True) as batched:
        servers = {"grpc": plain, "rest": plain, "grpc_batched": batched, "rest_batched": batched}
        with tqdm(total=rounds * len(clients) * (1 + len(servers)), desc="settings") as bar:
            for count in clients * rounds:
                each = -(-requests // count)
                figures.setdefault(("in_process", count), []).append(_threads(in_process, histories, count, each))
                bar.update()
                for way, addresses in servers.items():
                    api = way.partition("_")[0]
                    run = _processes(addresses[api], api == "rest", histories, count, each)
                    figures.setdefault((way, count), []).append(run)
                    bar.update()
    latency: dict[str, dict[str, dict[str, float]]] = {}
    for (way, count), runs in figures.items():
        seconds = np.concatenate([run[0] for run in runs])
        latency.setdefault(way, {})[str(count)] = {
            "p50_ms": round(float(np.percentile(seconds, 50)) * 1e3, 3),
            "p99_ms": round(float(np.percentile(seconds, 99)) * 1e3, 3),
            "requests_per_second": round(len(seconds) / sum(run[1] for run in runs), 1),
        }
    return {
        "benchmark": "serving",
        "machine": _machine.describe(),
        "requests": requests,
        "rounds": rounds,
        "histories": len(histories),
        "history_length": round(float(np.mean([len(history) for history in histories])), 1),
        "latency_by_clients": latency,
        "p50_over_in_process": {
            way: {
                count: round(row["p50_ms"] / latency["in_process"][count]["p50_ms"], 3)
                for count, row in by.items()
            }
            for way, by in latency.items()
            if way != "in_process"
        },
    }


def _in_process(model: Path) -> Ask:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures["serving_default"]

    def ask(history: list[str], keep_alive: object = loaded) -> object:
        return {name: value.numpy() for name, value in signature(history=tf.constant([history])).items()}

    return ask


def _ask_all(
    ask: Ask, histories: list[list[str]], first: int, count: int, ready: Callable[[], object]
) -> list:
    """Seconds of each of `count` requests, after some that do not count."""
    for number in range(WARM):
        ask(histories[number % len(histories)])
    ready()
    seconds = []
    for number in range(first, first + count):
        start = time.perf_counter()
        ask(histories[number % len(histories)])
        seconds.append(time.perf_counter() - start)
    return seconds


def _threads(ask: Ask, histories: list[list[str]], count: int, each: int) -> tuple[np.ndarray, float]:
    barrier = threading.Barrier(count + 1)
    seconds: list[list[float]] = [[] for _ in range(count)]

    def work(number: int) -> None:
        seconds[number] = _ask_all(ask, histories, number * each, each, barrier.wait)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return np.concatenate(seconds), time.perf_counter() - start


def _processes(
    address: str, rest: bool, histories: list[list[str]], count: int, each: int
) -> tuple[np.ndarray, float]:
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(count + 1), spawn.SimpleQueue()
    processes = [
        spawn.Process(target=_client, args=(address, rest, histories, number * each, each, barrier, answers))
        for number in range(count)
    ]
    try:
        for process in processes:
            process.start()
        with suppress(BrokenBarrierError):  # the client that broke it says why in its answer
            barrier.wait(READY_SECONDS)
        start = time.perf_counter()
        seconds = [answers.get() for _ in processes]
        wall = time.perf_counter() - start
        failed = [answer for answer in seconds if isinstance(answer, Exception)]
        if failed:
            raise RuntimeError(f"a client failed: {failed[0]}") from failed[0]
        return np.concatenate(seconds), wall
    finally:
        for process in processes:
            process.join(1)
            process.kill()


def _client(
    address: str,
    rest: bool,
    histories: list[list[str]],
    first: int,
    count: int,
    barrier: Barrier,
    answers: Any,
) -> None:
    try:
        answers.put(_client_seconds(address, rest, histories, first, count, barrier))
    except Exception as error:
        barrier.abort()
        answers.put(error)


def _client_seconds(
    address: str, rest: bool, histories: list[list[str]], first: int, count: int, barrier: Barrier
) -> np.ndarray:
    with Client(address, MODEL, rest=rest, timeout=60) as client:
        seconds = _ask_all(
            lambda history: client.recommend([history], 1),
            histories,
            first,
            count,
            lambda: barrier.wait(READY_SECONDS),
        )
    return np.array(seconds)


@contextmanager
def serve(model: Path, *flags: str, batching: bool = False) -> Iterator[dict[str, str]]:
    """`serve_folder` of a folder with this one version."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "1").symlink_to(model.resolve())
        more = [f"--grpc_max_threads={THREADS}", f"--rest_api_num_threads={THREADS}"]
        more.append("--file_system_poll_wait_seconds=0")
        if batching:
            parameters = Path(folder) / "batching.config"
            parameters.write_text(BATCHING)
            more += ["--enable_batching", f"--batching_parameters_file={parameters}"]
        with serve_folder(Path(folder), *more, *flags) as server:
            yield server


@contextmanager
def serve_folder(versions: Path, *flags: str) -> Iterator[dict[str, str]]:
    """A server process with these versions; yields its addresses, "grpc" and "rest", and its "pid"."""
    own = ("--port=0", "--rest_api_port=0", f"--model_name={MODEL}", f"--model_base_path={versions}")
    command = [sys.executable, "-m", "serving.server", *own, *flags]
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError(
                f"the server did not start (exit code {process.wait()}): {' '.join(command)}"
            )
        yield {**dict(field.split("=", 1) for field in line.split()[1:]), "pid": str(process.pid)}
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    raise SystemExit(main())
