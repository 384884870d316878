"""A small tuning as a process of its own, which a test may kill: `python tune_run.py MODEL OUT SECONDS`.

Every update takes SECONDS longer than it has to.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from llm_offline.alignment import tuning
from llm_offline.alignment.objectives import Sft
from llm_offline.alignment.policy import Text
from llm_offline.alignment_config import ReasonerConfig, TuneConfig


def run(model: Path, out: Path, seconds: float = 0.0, **changes) -> dict:
    """Tunes on ten texts: 24 updates, a checkpoint after each fifth."""
    reasoner = ReasonerConfig(model=str(model), max_tokens=64)
    settings = {"epochs": 8, "batch": 4, "learning_rate": 0.1, "neftune": 0.5, "checkpoint_updates": 5, "threads": 1}
    settings |= changes
    texts = [Text(n, tuple(range(5, 12 + n)), (n + 5, n + 6)) for n in range(10)]

    def prepare(policy, kept):
        return Slow(texts, TuneConfig(**settings), seconds)

    return tuning.run(out, "sft", reasoner, TuneConfig(**settings), None, prepare, {"texts": "1"})


class Slow(Sft):
    def __init__(self, texts, config, seconds) -> None:
        super().__init__(texts, config)
        self._seconds = seconds

    def backward(self, policy, items, seed):
        time.sleep(self._seconds)
        return super().backward(policy, items, seed)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
