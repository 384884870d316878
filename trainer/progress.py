"""Where a run stands, beside its parameters and its place in the data; every checkpoint has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Running:
    """Sums over the epoch under way."""

    loss: float = 0.0  # over targets
    targets: int = 0  # as the workers counted them
    examples: int = 0
    repeated: int = 0  # of the examples, at most so many were trained on more than once
    seconds: float = 0.0
    told: dict[str, list[float]] = field(default_factory=dict)  # by name, a sum and how many it is of: Step.tell

    def add(self, losses: np.ndarray, counts: np.ndarray, examples: int, told: Mapping[str, np.ndarray]) -> None:
        """Adds a unit: its steps' losses (steps,), what each is a mean over, and what they told, (steps, 2) each."""
        self.loss += float((losses * counts).sum())
        self.targets += int(counts.sum())
        self.examples += examples
        for name, values in told.items():
            before = self.told.get(name, [0.0, 0.0])
            self.told[name] = [float(old + new) for old, new in zip(before, values.sum(axis=0), strict=True)]


@dataclass
class Progress:
    """What a run knows."""

    step: int = 0
    phase_step: int = 0  # of them before the phase under way: those of pre-training
    epoch: int = 0  # epochs finished
    best: float = -1.0
    best_epoch: int = 0
    best_checkpoint: str = ""
    stopped: bool = False
    examples: int = 0  # trained on in all epochs that are finished
    repeated: int = 0
    history: list[dict[str, float]] = field(default_factory=list)  # one entry an epoch
    running: Running = field(default_factory=Running)
    start: dict[str, Any] = field(default_factory=dict)  # what it started from, where that is a model: warm_start

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Progress:
        """What ``state`` made."""
        return cls(**{**state, "running": Running(**state.get("running", {}))})

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)

    def end_epoch(self) -> dict[str, float]:
        """Closes the epoch under way and begins the next; returns the epoch's entry for the history."""
        running = self.running
        self.epoch += 1
        self.examples += running.examples
        self.repeated += running.repeated
        self.running = Running()
        return {
            "epoch": self.epoch,
            "loss": running.loss / max(running.targets, 1),
            "seconds": running.seconds,
            "targets": running.targets,
            "targets_per_second": running.targets / running.seconds,
            "examples": running.examples,
            "repeated": running.repeated,
            **{name: total / max(count, 1.0) for name, (total, count) in running.told.items()},
        }
