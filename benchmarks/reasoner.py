"""The reasoner's service with batching and 8-bit weights beside one prompt at a time in float32.

Each is a server process of its own, asked by as many clients at once, in turns in one run. Prompts are synthetic
sessions of the length that is asked for. Then the chatbot's endpoint at a steady load, with the last of these reasoners
and without one (`_chat_load`). Prints one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import urllib3

from benchmarks import _chat_load, _machine
from benchmarks._chat_load import Load
from benchmarks._service import started
from feature_store import reasoner_prompt

KINDS = {
    "one_float32": {"weights": "float32", "max_batch": 1, "max_wait_ms": 0.0},
    "batched_float32": {"weights": "float32"},
    "batched_int8": {"weights": "int8"},
}
NAME = "bench"
"""What the servers call the model."""
_WORDS = ("order", "shipped", "paid", "delivered", "returned", "refund", "late", "parcel", "card", "page", "help")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench reasoner", description=__doc__)
    parser.add_argument("--model", default="smollm2", help="as align.reasoner.model")
    parser.add_argument("--layers", type=int, default=0, help="keep the first n layers; 0 keeps all")
    parser.add_argument("--clients", type=int, default=8, help="that ask at the same time, each again once answered")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=3, help="of each kind; medians count")
    parser.add_argument("--words", type=int, default=60, help="of a session's context")
    parser.add_argument("--compared", type=int, default=48, help="sessions whose 8-bit vectors are compared")
    parser.add_argument("--dtype", default="bfloat16", help="as align.reasoner.dtype; 8-bit weights are of float32")
    parser.add_argument("--max-batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0, help="of each server; 0 is all cores")
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second to the endpoint; 0 leaves it out")
    parser.add_argument("--deadline-ms", type=float, default=200.0, help="of a request to the endpoint")
    features = "whose features, words and ranker the endpoint has"
    parser.add_argument("--config", default="configs/chatbot.yaml", help=features)
    print(json.dumps(measure(parser.parse_args(argv))))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Requests a second and latencies of each kind, and how far 8-bit vectors are from those of float32."""
    turns: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    contexts = [context(n, options.words) for n in range(256)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {}
        for kind, settings in KINDS.items():
            asked = {"max_batch": options.max_batch, **settings}
            servers[kind] = stack.enter_context(_server(Path(folder) / kind, kind, asked, options))
        asked_of = {kind: contexts[: options.compared] for kind in ("one_float32", "batched_int8")}
        vectors = {kind: np.array([embed(servers[kind], text) for text in some]) for kind, some in asked_of.items()}
        for turn in range(options.turns):
            for kind, url in servers.items():
                turns[kind].append(load(url, contexts, options.clients, options.seconds))
                print(f"turn {turn + 1}, {kind}: {turns[kind][-1]}", flush=True)
        endpoint = None
        if options.rate:
            steady = Load(options.rate, options.seconds, options.turns, options.deadline_ms)
            asked = f"{servers['batched_int8']}/v1", NAME, vectors["batched_int8"].shape[1]
            endpoint = _chat_load.measure(options.config, Path(folder), *asked, steady)
    names = ("requests_per_second", "p50_ms", "p99_ms")
    found = {
        kind: {name: round(median(one[name] for one in some), 2) for name in names} for kind, some in turns.items()
    }
    base = found["one_float32"]["requests_per_second"]
    return {
        "benchmark": "reasoner",
        "machine": _machine.describe(),
        "model": options.model,
        "clients": options.clients,
        **found,
        "speedup": {kind: round(found[kind]["requests_per_second"] / base, 2) for kind in KINDS},
        "int8": nearness(vectors["one_float32"], vectors["batched_int8"]),
        "endpoint": endpoint,
    }


def nearness(exact: np.ndarray, near: np.ndarray) -> dict[str, float]:
    """How near vectors (n, D) of n sessions are to the exact ones, in what tells sessions apart.

    - ``error``: the root mean square of the differences over that of exact vectors from their mean, the deviation
      between sessions. ``shift``: the part that all sessions share, and ``error_around_shift``, what is left of it.
    - ``centred_cosine``: the mean cosine of both, each less its own mean; ``least_centred_cosine``.
    - ``cosine``: the mean without that, beside ``cosine_of_others``, of two different sessions.
    - ``nearest``: the share of sessions to which the exact vector of the same session is the nearest one.
    """
    count, off = len(exact), near - exact
    one, other = exact - exact.mean(0), near - near.mean(0)
    centred, width = (_unit(one) * _unit(other)).sum(1), np.sqrt((one**2).sum(1).mean())
    among = _unit(exact) @ _unit(exact).T
    apart = np.linalg.norm(near[:, None] - exact[None], axis=2)
    told = {
        "error": np.sqrt((off**2).sum(1).mean()) / width,
        "shift": np.linalg.norm(off.mean(0)) / width,
        "error_around_shift": np.sqrt(((off - off.mean(0)) ** 2).sum(1).mean()) / width,
        "centred_cosine": centred.mean(),
        "least_centred_cosine": centred.min(),
        "cosine": (_unit(exact) * _unit(near)).sum(1).mean(),
        "cosine_of_others": (among.sum() - count) / (count * (count - 1)),
        "nearest": (apart.argmin(1) == np.arange(count)).mean(),
    }
    return {name: round(float(value), 4) for name, value in told.items()}


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def context(number: int, words: int) -> str:
    """A session's context, another for every number."""
    draw = random.Random(number)
    return " ".join(draw.choice(_WORDS) for _ in range(words))


def embed(url: str, text: str) -> list[float]:
    """One session's vector."""
    said = [{"role": "system", "content": reasoner_prompt.SYSTEM},
            {"role": "user", "content": reasoner_prompt.about_session(text)}]  # fmt: skip
    body = {"model": NAME, "messages": said, "add_generation_prompt": True}
    answer = _POOL.request("POST", f"{url}/v1/embeddings", json=body)
    if answer.status != 200:
        raise RuntimeError(f"{url}: status {answer.status}: {answer.data[:200]!r}")
    return answer.json()["data"][0]["embedding"]


def load(url: str, contexts: list[str], clients: int, seconds: float) -> dict[str, float]:
    """What ``clients`` at once get from a server in that time."""
    taken: list[float] = []
    until = time.perf_counter() + seconds

    def ask(number: int) -> None:
        while (started := time.perf_counter()) < until:
            embed(url, contexts[number % len(contexts)])
            taken.append(time.perf_counter() - started)
            number += clients

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(taken) / (time.perf_counter() - began)
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    return {"requests_per_second": round(rate, 2), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}


@contextmanager
def _server(folder: Path, kind: str, settings: dict[str, Any], options: argparse.Namespace) -> Iterator[str]:
    folder.mkdir()
    dtype = "float32" if settings["weights"] == "float32" else options.dtype
    reasoner = {"model": options.model, "layers": options.layers, "dtype": dtype}
    service = {"port": 0, "deadline_ms": 600_000.0, "served_name": NAME, "threads": options.threads, **settings}
    content = {"name": kind, "runs": str(folder), "align": {"reasoner": reasoner}, "service": service}
    config = folder / "config.yaml"
    config.write_text(json.dumps(content))
    with started(["reasoner", "-c", str(config)], "reasoner ready") as address:
        yield f"http://{address}"


_POOL = urllib3.PoolManager(maxsize=64, retries=False)


if __name__ == "__main__":
    raise SystemExit(main())
