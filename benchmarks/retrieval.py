"""Retrieval over a large catalogue by a version's index, beside comparing every item.

The vectors are made as `benchmarks/_item_vectors.py` says, or are those of an exported version's own index, searched
with those of its test users (`--model` and `--examples`). Index and brute force answer the same users in turn, one user
a call on one thread, as a server's thread does; recall@50 is of users that the index was not tuned on. What the
index takes in memory is what a process of its own holds more once it has read it. Prints one JSON object on its last
line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil

from benchmarks import _item_vectors, _machine
from serving import index, index_build
from serving.config import IndexConfig
from serving.index import ItemIndex

K = 50


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench retrieval", description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000, help="of a made catalogue")
    parser.add_argument("--width", type=int, default=64, help="d, of its vectors")
    parser.add_argument("--model", type=Path, help="a version folder, as `antiphon export` writes it, in place of it")
    parser.add_argument("--examples", type=Path, help="the run's examples folder, for the users of --model")
    parser.add_argument("--users", type=int, default=2000, help="half to tune the index by, half to measure it on")
    parser.add_argument("--queries", type=int, default=500, help="searches timed, each way")
    parser.add_argument("--kind", choices=["exact", "ivf"], default="ivf")
    parser.add_argument("--recall", type=float, default=IndexConfig.recall, help="what the index is tuned to")
    options = parser.parse_args(argv)
    if min(options.items, options.width, options.queries) < 1 or options.users < 2:
        parser.error("--items, --width and --queries must be at least 1, --users 2")
    if (options.model is None) != (options.examples is None):
        parser.error("--model and --examples must be given together")
    if options.model is not None:
        items, users = of_version(options.model, options.examples, options.users)
    else:
        items = _item_vectors.items(options.items, options.width)
        users = _item_vectors.users(items, options.users)
    config = IndexConfig(kind=options.kind, recall=options.recall)
    figures = measure(items, users, config, options.queries)
    source = "made" if options.model is None else "version"
    print(json.dumps({"benchmark": "retrieval", "machine": _machine.describe(), "vectors": source, **figures}))
    return 0


def of_version(model: Path, examples: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The item vectors of a version's index (N, d), and its vectors of test users (U, d)."""
    import tensorflow as tf

    from trainer.input import Examples, held_out

    held = faiss.read_index(str(model / index.FOLDER / index.VECTORS))
    if not isinstance(held, faiss.IndexFlat):
        raise ValueError(f"--model {model}: its index must be exact, which holds the vectors as they are")
    data = Examples(examples)
    rows = next(held_out(data, "test", 50, count)).history
    history = [[data.vocabulary.ids[i - 1] if i else "" for i in row] for row in rows]
    loaded = tf.saved_model.load(str(model))
    users = loaded.signatures["embed_user"](history=tf.constant(history))["embedding"].numpy()
    return held.reconstruct_n(0, held.ntotal), users


def measure(items: np.ndarray, users: np.ndarray, config: IndexConfig, queries: int) -> dict[str, Any]:
    """Build time, sizes, recall and the time of single searches, by the index and by brute force."""
    ids = [f"item-{number}" for number in range(len(items))]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "index"
        start = time.perf_counter()
        told = index_build.write(place, ids, items, users, config)
        built = time.perf_counter() - start
        size = sum(path.stat().st_size for path in place.iterdir())
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(1) as pool:
            load_seconds, memory = pool.apply(_loaded, (place,))
        found = index.read(place)
    exact = ItemIndex(index_build.exact_index(items), ids)
    faiss.omp_set_num_threads(1)
    asked = users[1::2]
    seconds: dict[str, list[float]] = {"index": [], "brute_force": []}
    for number in range(queries):
        user = asked[number % len(asked)][None]
        for way, searched in (("index", found), ("brute_force", exact)):
            start = time.perf_counter()
            searched.search(user, K)
            seconds[way].append(time.perf_counter() - start)
    figures = {way: _figures(np.array(taken)) for way, taken in seconds.items()}
    return {
        **told,
        "build_seconds": round(built, 2),  # tuning and measuring the recall included
        "file_bytes": size,
        "load_seconds": round(load_seconds, 2),
        "memory_mib": round(memory / 2**20, 1),
        "queries": queries,
        "one_thread": figures,
        "speed_over_brute_force": round(figures["brute_force"]["p50_ms"] / figures["index"]["p50_ms"], 2),
    }


def _loaded(place: Path) -> tuple[float, int]:
    """Seconds to read the index, and the bytes of memory that this process holds more for it."""
    process = psutil.Process()
    before, start = process.memory_info().rss, time.perf_counter()
    held = index.read(place)
    seconds = time.perf_counter() - start
    more = process.memory_info().rss - before
    del held  # not before it has been measured
    return seconds, more


def _figures(seconds: np.ndarray) -> dict[str, float]:
    return {
        "p50_ms": round(float(np.percentile(seconds, 50)) * 1e3, 3),
        "p99_ms": round(float(np.percentile(seconds, 99)) * 1e3, 3),
        "queries_per_second": round(1 / float(seconds.mean()), 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
