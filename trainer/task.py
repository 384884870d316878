"""What the loop trains: the same loop, checkpoints, working set and cluster for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from trainer.averaging import WeightAverage
from trainer.cluster.work_queue import Shard
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable
from trainer.llm_link import LlmLink
from trainer.optimizers import Optimizer
from trainer.unit import Function


class Task(Protocol):
    """A model with its training records and its validation.

    Attributes:
      tables, dense: every parameter.
      selection: the validation metric that picks the best checkpoint and stops training early; more is better.
      as_trained: names of dense weights that are not averaged.
      pretrain_epochs: of a phase of its own, before the others.
      link: to a side process that is trained along, by the loop's steps; None without one.
      clients: what a unit's function takes after ``unit.SIGNATURE``: handles, one a worker.
    """

    tables: list[EmbeddingTable]
    dense: FlatWeights
    selection: str
    as_trained: Sequence[str]
    pretrain_epochs: int
    link: LlmLink | None
    clients: list[Any]

    def shards(self) -> list[Shard]:
        """The files of the training split."""

    def unit(self, optimizer: Optimizer, steps: int, workers: int, pretraining: bool) -> Function:
        """The work of one scheduled call of a phase, see ``unit.unit_function``; ``workers`` is 0 without a working
        set."""

    def validate(self) -> dict[str, float]:
        """Metrics of the validation split, ``selection`` among them, with the parameters as they are now."""

    def start(self, optimizer: Optimizer, average: WeightAverage | None) -> dict[str, Any]:
        """Takes over what training starts from, slots included; says what that was, nothing where it starts anew."""
