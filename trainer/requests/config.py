"""What a user sets about a model of labelled requests and its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from feature_store.checks import above, at_least, one_of, require
from trainer.loop_config import LoopConfig, ScheduledOptimizerConfig
from trainer.requests.choir_config import ChoirConfig
from trainer.requests.tower_config import TowerConfig

KINDS = ("base", "choirrec", "cold_transformer", "melt", "poso", "qe_rec", "two_towers", "uie")


@dataclass(frozen=True)
class RequestModelConfig:
    """A model of ``trainer.models.REQUEST_MODELS``, and what all of them share."""

    kind: str = "base"  # one of KINDS
    d: int = 16  # width of an id's vector
    hidden: tuple[int, ...] = (128, 64)  # widths of the layers above the features
    attention: tuple[int, ...] = (32,)  # widths inside the attention of a candidate over a sequence
    dropout: float = 0.0  # after each layer of ``hidden``
    stddev: float = 0.05  # of the vectors' initial values
    exclude: tuple[str, ...] = ()  # features of the requests that are not read; "group_*" is all that begin so

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        at_least("d", self.d, 1)
        for name in ("hidden", "attention", "exclude"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        require(bool(self.hidden), "hidden", "must hold at least one width", self.hidden)
        for name in ("hidden", "attention"):
            for width in getattr(self, name):
                at_least(name, width, 1)
        require(0 <= self.dropout < 1, "dropout", "must be at least 0 and below 1", self.dropout)
        above("stddev", self.stddev, 0)


@dataclass(frozen=True)
class RequestOptimizerConfig(ScheduledOptimizerConfig):
    """As ChoirRec's paper has it, §5.1, but for what the squares begin at, of which it says nothing."""

    kind: str = "adagrad"
    learning_rate: float = 0.01
    final_rate: float = 0.001
    initial_accumulator: float = 1e-6


@dataclass(frozen=True)
class SparseConfig:
    """Of the models that ChoirRec is compared with."""

    skipped: str = "skipped"  # cold_transformer: the feature of items that were clicked and not bought
    blocks: int = 1  # cold_transformer
    heads: int = 1  # cold_transformer
    few: int = 3  # melt: a user with at most so many purchases is of the tail
    weight: float = 0.1  # melt, uie: of their own loss
    memory: int = 64  # uie: centroids
    nearest: int = 8  # uie: of them that a user's interest is enhanced by

    def __post_init__(self) -> None:
        for name in ("blocks", "heads", "few", "memory", "nearest"):
            at_least(name, getattr(self, name), 1)
        at_least("weight", self.weight, 0)
        require(self.nearest <= self.memory, "nearest", f"must be at most memory ({self.memory})", self.nearest)


@dataclass(frozen=True)
class RequestTrainConfig(LoopConfig):
    """Of a model of labelled requests."""

    batch: int = 1024  # requests
    epochs: int = 10
    patience: int = 0
    select: str = "gauc"  # the validation metric that picks the best checkpoint: see trainer.requests.metrics
    signature: str = "predict_cvr"  # what clients call the exported model's function by
    optimizer: RequestOptimizerConfig = field(default_factory=RequestOptimizerConfig)
    model: RequestModelConfig = field(default_factory=RequestModelConfig)
    choir: ChoirConfig = field(default_factory=ChoirConfig)  # of kind choirrec; its features' names also of others
    sparse: SparseConfig = field(default_factory=SparseConfig)  # of kinds cold_transformer, melt, uie
    towers: TowerConfig = field(default_factory=TowerConfig)  # of kinds qe_rec and two_towers

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.average, "average", "must be 0 for requests", self.average)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RequestTrainConfig:
        """What ``dataclasses.asdict`` made of one."""
        parts = {
            "model": RequestModelConfig, "optimizer": RequestOptimizerConfig, "choir": ChoirConfig,
            "sparse": SparseConfig, "towers": TowerConfig,
        }  # fmt: skip
        return cls(**{**values, **{name: part(**values[name]) for name, part in parts.items()}})


@dataclass(frozen=True)
class RequestEvaluateConfig:
    """How rankers are compared: with what uncertainty, and by which segments of users."""

    bootstrap: int = 1000  # resamples of users for the intervals and the paired tests
    batch: int = 1024  # requests scored at once
    low_share: float = 0.55  # of the users, those with the least activity
    levels: int = 5  # of activity, each of as many users of the test
    ties: str = "hash"  # hash | together: where users of one activity are parted, see trainer.requests.evaluate

    def __post_init__(self) -> None:
        for name in ("bootstrap", "batch", "levels"):
            at_least(name, getattr(self, name), 1)
        one_of("ties", self.ties, ("hash", "together"))
        require(0 < self.low_share < 1, "low_share", "must be above 0 and below 1", self.low_share)
