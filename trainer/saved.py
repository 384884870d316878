"""A trained variant's folder, opened for evaluation or export."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer import averaging, checkpoint
from trainer.attributes import read_attributes
from trainer.config import CocoConfig, ModelConfig
from trainer.input import Examples
from trainer.recommender import Recommender


@dataclass(frozen=True)
class Saved:
    """The best checkpoint of ``models/<variant>``, restored."""

    folder: Path
    checkpoint: Path
    config: dict[str, Any]  # the TrainConfig it was trained with
    recommender: Recommender
    step: int  # of the checkpoint, counted since pre-training, by which a side process knows it


def load(folder: Path, examples: Examples, devices: Sequence[str | None] = (None,)) -> Saved:
    """Restores the checkpoint that was best on validation.

    Args:
      devices: one a parameter server; ``(None,)`` restores into this process.

    Raises:
      FileNotFoundError: the variant has not finished training.
      CheckpointError: the checkpoint does not fit the examples' vocabulary.
    """
    history = folder / "history.json"
    if not history.exists():
        raise FileNotFoundError(f"{history}: missing; this variant has not finished training")
    best = folder / "checkpoints" / json.loads(history.read_text())["summary"]["best_checkpoint"]
    config = json.loads((folder / "config.json").read_text())
    model = ModelConfig(**config["model"])
    knowledge = np.load(best / "table.knowledge.npy", mmap_mode="r") if model.knowledge else None
    attributes = read_attributes(examples, model.attributes) if model.attributes else None
    coco = CocoConfig(**config.get("coco", {}))
    if not coco.fixed:
        coco = replace(coco, prompts="")  # the checkpoint has the codebook
    recommender = Recommender(model, examples.vocabulary.size, knowledge, devices, 0, attributes, coco)
    slot = averaging.SLOT if config["average"] else ""
    checkpoint.restore_for_use(best, recommender.tables, recommender.dense, slot)
    state = json.loads((best / "state.json").read_text())
    return Saved(folder, best, config, recommender, state["step"] - state["phase_step"])
