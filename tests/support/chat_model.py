"""A QE-Rec that was trained for a moment on `chat_requests`."""

from __future__ import annotations

from pathlib import Path

import chat_requests

from trainer import train
from trainer.requests.config import RequestModelConfig, RequestTrainConfig, ScheduledOptimizerConfig
from trainer.requests.tower_config import TowerConfig

CONFIG = RequestTrainConfig(
    batch=30, epochs=6, steps_per_schedule=2, validate_every=6, checkpoint_every=6, select="ndcg@3",
    optimizer=ScheduledOptimizerConfig("adam", 0.02, weight_decay=0.01, clip=1.0),
    model=RequestModelConfig("qe_rec", d=4, hidden=(16,), dropout=0.1), towers=TowerConfig(width=8),
)  # fmt: skip


def make(folder: Path) -> tuple[Path, Path]:
    """The requests and the model."""
    requests = chat_requests.write(folder / "requests")
    train.run(requests, None, folder / "models" / "qe_rec", CONFIG)
    return requests, folder / "models" / "qe_rec"
