"""A trained model of labelled requests, opened for evaluation or export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import checkpoint, saved
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests
from trainer.requests.ranker import RequestRanker


@dataclass(frozen=True)
class SavedRanker:
    """The best checkpoint of ``models/<variant>``, restored."""

    folder: Path
    checkpoint: Path
    config: dict[str, Any]  # the RequestTrainConfig it was trained with
    ranker: RequestRanker


def load(folder: Path, data: Requests, devices: Sequence[str | None] = (None,)) -> SavedRanker:
    """Restores the checkpoint that was best on validation.

    Args:
      devices: one a parameter server; ``(None,)`` restores into this process.

    Raises:
      FileNotFoundError: the variant has not finished training.
      CheckpointError: the checkpoint does not fit the requests' vocabularies.
    """
    best, config = saved.best_of(folder)
    ranker = RequestRanker(RequestTrainConfig.from_json(config), data, devices)
    checkpoint.restore_for_use(best, ranker.tables, ranker.dense)
    return SavedRanker(folder, best, config, ranker)
