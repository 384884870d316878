"""What a user sets about the model, its training and its evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelConfig:
    """SASRec (Kang & McAuley 2018)."""

    kind: str = "sasrec"
    d: int = 64
    blocks: int = 2
    heads: int = 1
    max_length: int = 50  # L
    dropout: float = 0.5
    knowledge: str = ""  # "item_text": add a projection of the item-text vectors; "" is ids only
    knowledge_width: int = 128  # the vectors are cut to this many principal components


@dataclass(frozen=True)
class LossConfig:
    kind: str = "softmax"  # softmax | sampled_softmax | in_batch | bce
    negatives: int = 512  # sampled_softmax


@dataclass(frozen=True)
class OptimizerConfig:
    kind: str = "adam"  # sgd | adagrad | adam | lazy_adam
    learning_rate: float = 1e-3
    weight_decay: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    batch: int = 512
    epochs: int = 50
    seed: int = 1
    steps_per_schedule: int = 10  # steps unrolled in one remote call
    validate_every: int = 1  # epochs
    patience: int = 10  # validations without a better NDCG@10 before stopping; 0 never stops
    checkpoint_every: int = 1  # epochs
    keep_checkpoints: int = 2
    cluster: str = ""  # "ps=2,workers=2" spawns a local cluster; "" trains in-process
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass(frozen=True)
class EvaluateConfig:
    cutoffs: tuple[int, ...] = (5, 10, 20)
    bootstrap: int = 1000  # resamples of users for the intervals and the paired test
    batch: int = 1024


@dataclass(frozen=True)
class ExportConfig:
    top_k: int = 20
    warmup_requests: int = 8
