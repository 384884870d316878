"""What the contestants of `antiphon bench ps` are told."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A batch size with the MLP over it and the steps unrolled in one call."""

    batch: int
    mlp: tuple[int, ...]
    unrolled: int
    working_set: str | None = None  # in place of the set-up's


@dataclass(frozen=True)
class Setup:
    """How a contestant trains. All but ``optimizer``, ``ps`` and ``workers`` is of ours alone."""

    optimizer: str = "adagrad"
    ps: int = 1
    workers: int = 1
    unique: bool = True  # a row is read once a step, however many examples have its id
    fused: bool = True  # all features in one table
    unrolled: bool = True  # several steps in one call
    spread: bool = True  # ids shuffled within their feature
    working_set: str = "auto"  # as in TrainConfig
    prefetch: bool = False
    wire: str = "float32"

    def local(self, cluster: bool) -> bool:
        """Whether a worker trains on copies."""
        return cluster and (self.working_set == "on" or (self.working_set == "auto" and self.workers == 1))


@dataclass(frozen=True)
class Settings:
    """What a contestant is told."""

    cases: dict[str, Case]
    file: str
    examples: int
    features: int
    rows: int  # of each feature's table
    width: int
    folder: str
    setup: Setup = Setup()

    @classmethod
    def read(cls, text: str) -> Settings:
        values = json.loads(text)
        cases = {n: Case(**{**c, "mlp": tuple(c["mlp"])}) for n, c in values.pop("cases").items()}
        return cls(cases=cases, setup=Setup(**values.pop("setup")), **values)
