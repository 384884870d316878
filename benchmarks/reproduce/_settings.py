"""What a row's figures depend on, as plain values that can be read and compared."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from antiphon.config import Config
from antiphon.llm import FREE_TO_CHANGE as LLM_FREE_TO_CHANGE
from benchmarks.reproduce._rows import Row
from trainer.config import TrainConfig
from trainer.train import FREE_TO_CHANGE, free_to_change

# A checkpoint may be resumed with other values of these, but the figures move with them.
_TRAIN = set(FREE_TO_CHANGE) - {"epochs", "patience", "validate_every"} | {"seed"}


def of(config: Config, row: Row) -> dict[str, Any]:
    """The settings that are not the default's, by section.

    A setting that is new in the code, with a default that leaves things as they were, changes nothing here. What is
    not seen is another default, and other code: then the rows have to be done again by hand (`--again`).
    """
    train = config.variants[row.name]
    parts = {
        "features": (config.features, {"online"}),
        "examples": (config.examples, set()),
        "train": (train, _TRAIN),
        "evaluate": (config.evaluate, {"batch", "cluster"}),
    }
    if train.start_from:
        parts["start"] = (config.variants[train.start_from], _TRAIN)
    if train.coco.live:
        parts |= {"llm": (config.llm, set(LLM_FREE_TO_CHANGE)), "prompts": (config.prompts, set())}
    if train.coco.source:
        parts["source"] = (config.sources[train.coco.source], set())
    found = {"reader": config.data.reader}
    found |= {name: values for name, (part, free) in parts.items() if (values := _changed(part, free))}
    return json.loads(json.dumps(found))


def only_longer(before: dict[str, Any], now: dict[str, Any], train: TrainConfig) -> bool:
    """Whether nothing but ``train.epochs`` differs, and training of ``before`` was on the way to ``now``."""
    if "epochs" not in free_to_change(train):
        return False
    (fewer, old), (more, new) = (_epochs_and_rest(settings) for settings in (before, now))
    return fewer < more and old == new


def _epochs_and_rest(settings: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    rest = {"epochs": TrainConfig.epochs, **settings.get("train", {})}
    return rest.pop("epochs"), {**settings, "train": rest}


def _changed(part: Any, free: set[str]) -> dict[str, Any]:
    default, found = type(part)(), {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.name in free or value == getattr(default, field.name):
            continue
        found[field.name] = _changed(value, set()) if dataclasses.is_dataclass(value) else value
    return found
