"""The chatbot's endpoint at a steady load, with its reasoner and without one, in turns in one run."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import urllib3

from antiphon.config import dump, load
from benchmarks import _chat_run
from benchmarks._service import started
from feature_store.latest_sessions import LatestSessions
from trainer.requests.config import RequestTrainConfig

WITH, WITHOUT = "with_reasoner", "without_reasoner"


@dataclass(frozen=True)
class Load:
    """``rate`` requests a second, evenly, whether those before are answered or not, in turns of so many seconds."""

    rate: float
    seconds: float
    turns: int
    deadline_ms: float
    users: int = 300  # simulated


def measure(config: str, folder: Path, reasoner: str, model: str, width: int, load: Load) -> dict[str, Any]:
    """Latency from when a request was due to its answer, over all turns' requests; medians of the turns' percentiles.

    Args:
        config: the file whose features, words and ranker are taken. folder: for the run. reasoner: its URL up to and
            with /v1. model: its name there. width: of its vectors.
    """
    file = _run(config, folder, width, load)
    turns: dict[str, list[dict[str, float]]] = {WITH: [], WITHOUT: []}
    outcomes: Counter[str] = Counter()
    with ExitStack() as stack:
        asked = {WITH: {"reasoner": reasoner, "reasoner_model": model}, WITHOUT: {"reasoner": ""}}
        urls = {kind: stack.enter_context(_serving(file, settings)) for kind, settings in asked.items()}
        users = LatestSessions(folder / "runs" / "chat" / "sessions").users
        pool = stack.enter_context(urllib3.PoolManager(maxsize=64, retries=False, timeout=60))
        for turn in range(load.turns):
            for kind, url in urls.items():
                found, told = _steady(pool, url, users, load)
                turns[kind].append(found)
                outcomes.update(told if kind == WITH else {})
                print(f"endpoint, turn {turn + 1}, {kind}: {found} {dict(told)}", flush=True)
    medians = {kind: {name: round(median(one[name] for one in some), 2) for name in some[0]}
               for kind, some in turns.items()}  # fmt: skip
    return {
        "requests_per_second": load.rate,
        "deadline_ms": load.deadline_ms,
        **medians,
        "p50_ratio": round(medians[WITH]["p50_ms"] / medians[WITHOUT]["p50_ms"], 2),
        "p99_ratio": round(medians[WITH]["p99_ms"] / medians[WITHOUT]["p99_ms"], 2),
        "outcomes": dict(outcomes),
    }


def _run(config: str, folder: Path, width: int, load_: Load) -> Path:
    """Makes the run, and returns its config's file."""
    settings = load(config, [f"chat.simulate.users={load_.users}", f"chat.path={folder / 'log'}"])
    ranker: RequestTrainConfig = settings.rankers[_chat_run.RANKER]
    quick = replace(ranker, epochs=1, steps_per_schedule=1, batch=64)
    own = replace(settings.chatbot, port=0, deadline_ms=load_.deadline_ms,
                  max_deadline_ms=max(load_.deadline_ms, settings.chatbot.max_deadline_ms))  # fmt: skip
    settings = replace(
        settings, name="chat", runs=str(folder / "runs"), rankers={_chat_run.RANKER: quick}, chatbot=own,
        serve=replace(settings.serve, grpc_port=0, rest_port=0),
    )  # fmt: skip
    file = folder / "chat.yaml"
    file.write_text(dump(settings), encoding="utf-8")
    print("endpoint: making a run with a ranker", flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks._chat_run", str(file), str(width)], check=True)
    return file


@contextmanager
def _serving(file: Path, settings: dict[str, str]) -> Iterator[str]:
    changed = [part for name, value in settings.items() for part in ("--set", f"chatbot.{name}={value}")]
    with started(["serve", "chatbot", "-c", str(file), *changed], "chatbot ready") as address:
        yield f"http://{address}/v1/chatbot:rank"


def _steady(
    pool: urllib3.PoolManager, url: str, users: list[str], load: Load
) -> tuple[dict[str, float], Counter[str]]:
    """One turn: latencies in milliseconds, the share that had a query, and what became of each request's query."""
    taken: list[float] = []
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def ask(number: int, due: float) -> None:
        answer = pool.request("POST", url, json={"user": users[number % len(users)], "entry_point": 1 + number % 3})
        told = answer.json()["query"] if answer.status == 200 else f"status {answer.status}"
        with lock:
            taken.append((time.perf_counter() - due) * 1000)
            outcomes[told] += 1

    count, began = max(int(load.rate * load.seconds), 1), time.perf_counter() + 0.1
    with ThreadPoolExecutor(64) as threads:
        futures = []
        for number in range(count):
            due = began + number / load.rate
            time.sleep(max(due - time.perf_counter(), 0))
            futures.append(threads.submit(ask, number, due))
        for future in futures:
            future.result()
    p50, p99 = np.percentile(taken, [50, 99])
    answered = outcomes["answered"] / count
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "answered": round(answered, 3)}, outcomes
