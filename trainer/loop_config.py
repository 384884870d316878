"""What a user sets about a training whatever is trained: its optimizer, its loop, its cluster."""

from __future__ import annotations

from dataclasses import dataclass, field

from feature_store.checks import above, at_least, one_of, require
from trainer.cluster.launcher import ClusterSize


@dataclass(frozen=True)
class OptimizerConfig:
    """Which optimizer (``trainer.optimizers``), its rate and what is of one kind alone."""

    kind: str = "adam"  # sgd | adagrad | rowwise_adagrad | ftrl | adam | lazy_adam
    learning_rate: float = 1e-3
    l1: float = 0.0  # of ftrl: the penalty is l1 |w| + l2 w²
    l2: float = 0.0
    initial_accumulator: float = 0.1  # of adagrad, rowwise_adagrad, ftrl: what squared gradients are added to

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("sgd", "adagrad", "rowwise_adagrad", "ftrl", "adam", "lazy_adam"))
        for name in ("learning_rate", "initial_accumulator"):
            above(name, getattr(self, name), 0)
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            at_least(name, value, 0)
            require(self.kind == "ftrl" or not value, name, f"must be 0 with kind {self.kind!r}", value)


@dataclass(frozen=True)
class ScheduledOptimizerConfig(OptimizerConfig):
    """An optimizer whose rate falls from ``learning_rate`` to ``final_rate`` over the training."""

    final_rate: float = 0.0  # 0 keeps the rate as it is
    schedule: str = "linear"  # linear | exponential | cosine: how it falls from the first step to the last
    weight_decay: float = 0.0  # of adam and lazy_adam: at each update w also moves by −rate · weight_decay · w
    clip: float = 0.0  # a step's gradients are scaled so that their joint norm is at most this; 0 leaves them

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("final_rate", "weight_decay", "clip"):
            at_least(name, getattr(self, name), 0)
        one_of("schedule", self.schedule, ("linear", "exponential", "cosine"))
        if self.kind == "ftrl":
            require(not self.final_rate, "final_rate", "must be 0 with kind 'ftrl'", self.final_rate)
        if self.weight_decay:
            rule = "must be 'adam' or 'lazy_adam' with weight_decay"
            require(self.kind in ("adam", "lazy_adam"), "kind", rule, self.kind)


@dataclass(frozen=True)
class LoopConfig:
    """What the loop reads, of any task."""

    batch: int = 512
    epochs: int = 50  # with coco.refresh: of a round
    seed: int = 1
    steps_per_schedule: int = 10  # steps unrolled in one remote call
    working_set: str = "auto"  # on: a worker pulls what a remote call touches, trains on that, pushes the moves;
    # off: it reads and updates the servers at every step; auto: on with one worker, where both give the same model
    wire: str = "float32"  # between workers and servers; bfloat16: parameters and gradients travel rounded
    prefetch: bool = False  # the next step's rows are read before this step's update; with working_set off
    validate_every: int = 1  # epochs
    patience: int = 10  # validations without a better selection metric before stopping; 0 never stops
    checkpoint_every: int = 1  # epochs
    checkpoint_minutes: float = 10.0  # between checkpoints within an epoch; 0 writes none there
    keep_checkpoints: int = 2
    average: float = 0.0  # decay of the weights' moving average over epochs, which is then what is used; 0 is off
    cluster: str = ""  # "ps=2,workers=2" spawns a local cluster; "" trains in-process
    metrics_port: int = 0  # where the coordinator serves its counters to Prometheus; 0 is nowhere
    hang_seconds: float = 120.0  # a remote call may take this long, or ten times the usual; then its worker hangs
    grace_seconds: float = 20.0  # from SIGTERM to the end, a checkpoint included; Kubernetes gives 30
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        for name in (
            "batch", "epochs", "steps_per_schedule", "validate_every", "checkpoint_every", "keep_checkpoints",
        ):  # fmt: skip
            at_least(name, getattr(self, name), 1)
        one_of("working_set", self.working_set, ("auto", "on", "off"))
        one_of("wire", self.wire, ("float32", "bfloat16"))
        if self.prefetch:
            require(self.working_set == "off", "working_set", "must be 'off' with prefetch", self.working_set)
        require(0 <= self.metrics_port < 65536, "metrics_port", "must be at least 0 and below 65536", self.metrics_port)
        for name in ("patience", "checkpoint_minutes"):
            at_least(name, getattr(self, name), 0)
        for name in ("hang_seconds", "grace_seconds"):
            above(name, getattr(self, name), 0)
        require(0 <= self.average < 1, "average", "must be at least 0 and below 1", self.average)
        if self.cluster:
            ClusterSize.parse(self.cluster)
