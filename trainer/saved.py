"""A trained variant's folder, opened for evaluation or export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    best, config = best_of(folder)
    model, coco = settings_of(config)
    knowledge = np.load(best / "table.knowledge.npy", mmap_mode="r") if model.knowledge else None
    attributes = read_attributes(examples, model.attributes) if model.attributes else None
    recommender = Recommender(model, examples.vocabulary.size, knowledge, devices, 0, attributes, coco)
    slot = averaging.SLOT if config["average"] else ""
    checkpoint.restore_for_use(best, recommender.tables, recommender.dense, slot)
    return Saved(folder, best, config, recommender, best_step(folder))


def best_of(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The checkpoint of ``models/<variant>`` that was best on validation, and the `TrainConfig` of it as JSON.

    Raises:
      FileNotFoundError: the variant has not finished training.
    """
    history = folder / "history.json"
    if not history.exists():
        raise FileNotFoundError(f"{history}: missing; this variant has not finished training")
    best = folder / "checkpoints" / json.loads(history.read_text())["summary"]["best_checkpoint"]
    return best, json.loads((folder / "config.json").read_text())


def best_step(folder: Path) -> int:
    """That checkpoint's, counted since pre-training, by which a side process knows it; errors as `best_of`."""
    state = json.loads((best_of(folder)[0] / "state.json").read_text())
    return state["step"] - state["phase_step"]


def settings_of(config: Mapping[str, Any]) -> tuple[ModelConfig, CocoConfig]:
    """Of a `TrainConfig` as JSON, what says which weights a checkpoint holds."""
    coco = CocoConfig(**config.get("coco", {}))
    if not coco.fixed:
        coco = replace(coco, prompts="")  # the checkpoint has the codebook
    return ModelConfig(**config["model"]), coco
