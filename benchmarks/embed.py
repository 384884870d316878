"""Our embedder beside SentenceTransformer.encode: same model, texts and precision, alternated in one run.

Tokens are real ones (special tokens count, padding does not), each text cut at the same length. Prints
one JSON object on its last line.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from sentence_transformers import SentenceTransformer

from benchmarks import _data, _machine
from llm_offline.config import EmbedConfig
from llm_offline.embedder import Embedder
from llm_offline.model_files import resolve

MAX_TOKENS = 256  # the length MiniLM's own settings cut at


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench embed", description=__doc__)
    data = _data.folder() / "amazon_beauty" / "items.parquet"
    parser.add_argument("--data", type=Path, default=data, help="a Parquet file with a column `title` (%(default)s)")
    parser.add_argument("--limit", type=int, default=0, help="only the first n titles")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the median counts")
    parser.add_argument("--bfloat16", action="store_true", help="also measure our embedder in bfloat16")
    arguments = parser.parse_args(argv)
    titles = pq.read_table(arguments.data, columns=["title"])["title"].to_pylist()
    titles = [title or "" for title in titles][: arguments.limit or None]
    print(json.dumps(measure(titles, arguments.rounds, arguments.bfloat16)))
    return 0


def measure(titles: list[str], rounds: int, bfloat16: bool) -> dict[str, Any]:
    """Tokens a second of each, their ratio, and how far the vectors are apart."""
    folder, _ = resolve("minilm")
    reference = SentenceTransformer(str(folder), device="cpu")
    if reference.max_seq_length != MAX_TOKENS:
        raise RuntimeError(f"the model cuts at {reference.max_seq_length} tokens, not {MAX_TOKENS}")
    ours = Embedder(EmbedConfig(max_tokens=MAX_TOKENS))
    encoders: dict[str, Callable[[list[str]], np.ndarray]] = {
        "sentence_transformers": lambda texts: reference.encode(texts, show_progress_bar=False),
        "antiphon": ours.encode,
    }
    if bfloat16:
        encoders["antiphon_bfloat16"] = Embedder(EmbedConfig(max_tokens=MAX_TOKENS, dtype="bfloat16")).encode
    tokens = sum(map(len, ours.tokenize(titles)))
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    vectors = {}
    for encode in encoders.values():
        encode(titles[:64])
    for number in range(rounds):
        for name, encode in encoders.items():
            gc.collect()
            started = time.perf_counter()
            vectors[name] = encode(titles)
            seconds[name].append(time.perf_counter() - started)
            print(f"round {number + 1}, {name}: {tokens / seconds[name][-1]:,.0f} tokens/s", flush=True)
    rate = {name: tokens / median(taken) for name, taken in seconds.items()}
    difference = np.abs(vectors["antiphon"] - vectors["sentence_transformers"]).max()
    return {
        "benchmark": "embed",
        "machine": _machine.describe() | {"torch": torch.__version__, "threads": torch.get_num_threads()},
        "model": ours.model_id,
        "texts": len(titles),
        "tokens": tokens,
        "tokens_per_second": {name: round(value) for name, value in rate.items()},
        "ratio": round(rate["antiphon"] / rate["sentence_transformers"], 3),
        "ratio_per_round": [
            round(theirs / mine, 3)
            for theirs, mine in zip(seconds["sentence_transformers"], seconds["antiphon"], strict=True)
        ],
        "largest_difference": float(difference),
    }


if __name__ == "__main__":
    raise SystemExit(main())
