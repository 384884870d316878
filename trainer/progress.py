"""Where a run stands, beside its parameters and its place in the data; every checkpoint has it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Running:
    """Sums over the epoch under way."""

    loss: float = 0.0  # over targets
    targets: int = 0  # as the workers counted them
    examples: int = 0
    repeated: int = 0  # of the examples, at most so many were trained on more than once
    seconds: float = 0.0


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
        }
