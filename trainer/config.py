"""What a user sets about the model, its training and its evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from feature_store.checks import above, at_least, one_of, require
from trainer.cluster.launcher import ClusterSize
from trainer.coco_config import CocoConfig, LinkConfig
from trainer.loop_config import LoopConfig, OptimizerConfig


@dataclass(frozen=True)
class ModelConfig:
    """A sequential backbone: see ``trainer.models``."""

    kind: str = "sasrec"  # bert4rec | fdsa | pinnerformer | s3rec | sasrec
    d: int = 64
    blocks: int = 2
    heads: int = 1
    max_length: int = 50  # L
    dropout: float = 0.5
    feed_forward: int = 1  # width inside the feed-forward layers, in multiples of d
    activation: str = "relu"  # gelu | relu
    norm: str = "query"  # query | pre | post: what a block normalises, see trainer.layers.attention
    item_stddev: float = 0.0  # of the item table's initial values; 0 is Glorot's, √(2 / (items + d))
    temperature: float = 0.0  # above 0, scores are cosines over it; at 0, inner products
    attributes: tuple[str, ...] = ()  # fdsa, s3rec: columns of the items' table, each value of which is an attribute
    mask_rate: float = 0.2  # bert4rec, s3rec: share of a sequence's items that are hidden and predicted
    mask_last: float = 0.1  # bert4rec: share of sequences of which the last item alone is hidden, as in use
    future: int = 8  # pinnerformer: a position's target is one of the next so many items
    residual: bool = False  # pinnerformer: what goes into its last layers is added to what comes out of them
    knowledge: str = ""  # "item_text": add a projection of the item-text vectors; "" is ids only. On the command
    # line also one of ``sources`` that tells of items, by name
    knowledge_width: int = 128  # the vectors are cut to this many principal components; 0 takes them as they lie
    knowledge_start: float = 0.0  # their projection begins at so many times the identity
    likeness: float = 0.0  # above 0, knowledge is not projected and added: an answer's scores gain so many times the
    # cosine of an item's knowledge and that of the user's items. Training's loss has no part of it

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("bert4rec", "fdsa", "pinnerformer", "s3rec", "sasrec"))
        for name in ("d", "blocks", "heads", "max_length", "feed_forward", "future"):
            at_least(name, getattr(self, name), 1)
        at_least("knowledge_width", self.knowledge_width, 0)
        at_least("knowledge_start", self.knowledge_start, 0)
        at_least("likeness", self.likeness, 0)
        if self.likeness:
            require(bool(self.knowledge), "knowledge", "must be set with likeness", self.knowledge)
            require(not self.knowledge_start, "knowledge_start", "must be 0 with likeness", self.knowledge_start)
        require(self.d % self.heads == 0, "heads", f"must divide d ({self.d})", self.heads)
        require(0 <= self.dropout < 1, "dropout", "must be at least 0 and below 1", self.dropout)
        one_of("activation", self.activation, ("gelu", "relu"))
        one_of("norm", self.norm, ("query", "pre", "post"))
        at_least("item_stddev", self.item_stddev, 0)
        at_least("temperature", self.temperature, 0)
        if self.kind == "pinnerformer":
            above("temperature", self.temperature, 0)
        object.__setattr__(self, "attributes", tuple(self.attributes))  # JSON has lists
        reads = self.kind in ("fdsa", "s3rec")
        rule = f"must {'name a column' if reads else 'be empty'} with kind {self.kind!r}"
        require(bool(self.attributes) == reads, "attributes", rule, self.attributes)
        if self.residual:
            require(self.kind == "pinnerformer", "kind", "must be 'pinnerformer' with residual", self.kind)
        require(0 < self.mask_rate < 1, "mask_rate", "must be above 0 and below 1", self.mask_rate)
        require(0 <= self.mask_last <= 1, "mask_last", "must be from 0 to 1", self.mask_last)


@dataclass(frozen=True)
class LossConfig:
    kind: str = "softmax"  # softmax | sampled_softmax | mixed | in_batch | bce
    negatives: int = 512  # sampled_softmax: drawn by popularity; mixed: so many of the batch's targets, and as many
    # uniform ones
    exclude_seen: bool = False  # sampled_softmax, mixed: no negative is an item that the user has met by then

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("softmax", "sampled_softmax", "mixed", "in_batch", "bce"))
        at_least("negatives", self.negatives, 1)
        if self.exclude_seen:
            one_of("kind with exclude_seen", self.kind, ("sampled_softmax", "mixed"))


@dataclass(frozen=True)
class PretrainConfig:
    """S3-Rec's first phase (Zhou et al., CIKM 2020): how long, and its four losses' weights."""

    epochs: int = 0
    aap: float = 0.2  # associated attribute prediction
    mip: float = 1.0  # masked item prediction
    map: float = 1.0  # masked attribute prediction
    sp: float = 0.5  # segment prediction

    def __post_init__(self) -> None:
        for name in ("epochs", "aap", "mip", "map", "sp"):
            at_least(name, getattr(self, name), 0)


@dataclass(frozen=True)
class TrainConfig(LoopConfig):
    """Of a sequential recommender."""

    rounds: int = 1  # with coco.refresh: of training on stored knowledge that is then refreshed
    start_from: str = ""  # models/<variant> whose best checkpoint this one starts from, see trainer.warm_start; in a
    # run's config also the name of a variant, which is then trained first
    held_back: int = 0  # so many newest items of each user are not trained on: they are new to a model that starts
    # from this one
    model: ModelConfig = field(default_factory=ModelConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)  # s3rec: epochs before those of ``epochs``
    loss: LossConfig = field(default_factory=LossConfig)
    llm: LinkConfig = field(default_factory=LinkConfig)
    coco: CocoConfig = field(default_factory=CocoConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("rounds", self.rounds, 1)
        at_least("held_back", self.held_back, 0)
        if self.prefetch:
            require(not self.coco.overlap, "coco.overlap", "must be false with prefetch", self.coco.overlap)
            require(self.loss.kind != "softmax", "loss.kind", "must read some rows with prefetch", self.loss.kind)
        if self.llm.address:
            rule = f"must be below hang_seconds ({self.hang_seconds:g}), after which a worker counts as hanging"
            require(self.llm.wait_seconds < self.hang_seconds, "llm.wait_seconds", rule, self.llm.wait_seconds)
        if self.coco.enabled:
            rule = "must be 0 with coco, whose knowledge is of all before the last target"
            require(not self.held_back, "held_back", rule, self.held_back)
            heads, d = self.coco.heads, self.model.d
            require(d % heads == 0, "coco.heads", f"must divide model.d ({d})", heads)
        if self.coco.stored and self.coco.adapter == "experts":
            knowledge, width = self.model.knowledge, self.model.knowledge_width
            require(bool(knowledge), "model.knowledge", "must be set with coco.adapter 'experts'", knowledge)
            require(not width, "model.knowledge_width", "must be 0 with coco.adapter 'experts'", width)
            rule = "must be 0 with coco.adapter 'experts'"
            require(not self.model.likeness, "model.likeness", rule, self.model.likeness)
        if self.model.kind != "s3rec":
            rule = f"must be 0 with model.kind {self.model.kind!r}"
            require(not self.pretrain.epochs, "pretrain.epochs", rule, self.pretrain.epochs)
        if self.start_from:
            require(not self.coco.refresh, "coco.refresh", "must be false with start_from", self.coco.refresh)
            rule = "must be 0 with start_from: the other model's weights are the start"
            require(not self.pretrain.epochs, "pretrain.epochs", rule, self.pretrain.epochs)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainConfig:
        """What ``dataclasses.asdict`` made of one."""
        parts = {
            "model": ModelConfig, "pretrain": PretrainConfig, "loss": LossConfig, "optimizer": OptimizerConfig,
            "llm": LinkConfig, "coco": CocoConfig,
        }  # fmt: skip
        return cls(**{**values, **{name: part(**values[name]) for name, part in parts.items()}})


@dataclass(frozen=True)
class EvaluateConfig:
    cutoffs: tuple[int, ...] = (5, 10, 20)
    bootstrap: int = 1000  # resamples of users for the intervals and the paired test
    batch: int = 1024  # users ranked at once, here or by a worker
    cluster: str = ""  # "ps=2,workers=2" spawns a local cluster; "" ranks in-process

    def __post_init__(self) -> None:
        if self.cluster:
            ClusterSize.parse(self.cluster)
        require(bool(self.cutoffs), "cutoffs", "must hold at least one cut-off", self.cutoffs)
        at_least("cutoffs", min(self.cutoffs), 1)
        at_least("bootstrap", self.bootstrap, 1)
        at_least("batch", self.batch, 1)


@dataclass(frozen=True)
class ExportConfig:
    top_k: int = 20
    warmup_requests: int = 8
    index_users: int = 2000  # test users by whose vectors the retrieval index is tuned and measured

    def __post_init__(self) -> None:
        at_least("top_k", self.top_k, 1)
        at_least("warmup_requests", self.warmup_requests, 0)
        at_least("index_users", self.index_users, 2)
