"""What a user sets about the model, its training and its evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from feature_store.checks import above, at_least, one_of, require
from trainer.cluster.launcher import ClusterSize


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

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("bert4rec", "fdsa", "pinnerformer", "s3rec", "sasrec"))
        for name in ("d", "blocks", "heads", "max_length", "feed_forward", "future"):
            at_least(name, getattr(self, name), 1)
        at_least("knowledge_width", self.knowledge_width, 0)
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

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("softmax", "sampled_softmax", "mixed", "in_batch", "bce"))
        at_least("negatives", self.negatives, 1)


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
class OptimizerConfig:
    kind: str = "adam"  # sgd | adagrad | rowwise_adagrad | ftrl | adam | lazy_adam
    learning_rate: float = 1e-3
    l1: float = 0.0  # of ftrl: the penalty is l1 |w| + l2 w²
    l2: float = 0.0

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("sgd", "adagrad", "rowwise_adagrad", "ftrl", "adam", "lazy_adam"))
        above("learning_rate", self.learning_rate, 0)
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            at_least(name, value, 0)
            require(self.kind == "ftrl" or not value, name, f"must be 0 with kind {self.kind!r}", value)


@dataclass(frozen=True)
class LinkConfig:
    """Where the language model's side process answers, for models that train with one."""

    address: str = ""  # "host:port"; "" is without one
    wait_seconds: float = 100.0  # a worker waits so long for a side process that does not answer
    call_seconds: float = 30.0  # a call may take so long before it is sent again

    def __post_init__(self) -> None:
        if self.address:
            host, colon, port = self.address.rpartition(":")
            rule = 'must be "host:port"'
            require(bool(host and colon) and port.isdigit(), "address", rule, self.address)
        for name in ("wait_seconds", "call_seconds"):
            above(name, getattr(self, name), 0)


@dataclass(frozen=True)
class CocoConfig:
    """CoCo over the backbone (``trainer.models.coco``); its language model is that of ``train.llm`` (`LinkConfig`)."""

    enabled: bool = False
    source: str = ""  # folder of knowledge that is stored (``antiphon knowledge``), on the command line one of
    # ``sources`` by name; "" is the side process. With it there are no prompts
    adapter: str = "linear"  # of stored vectors to the model's width: linear | none, as they are | experts: KAR's, of
    # users and items (``model.knowledge``, at ``model.knowledge_width`` 0)
    shared_experts: int = 2  # of both
    dedicated_experts: int = 2  # of each
    prompts: str = ""  # folder that `antiphon prompts` left, or a .npy (K, D); "" draws them. On the command line
    # "universal" is the run's own folder
    fixed: bool = False  # every user gets all of ``prompts``, which stay as they are: no codebook, no selection
    codes: int = 64  # K, size of the codebook
    shared: int = 2  # prompts that every user gets before the selected ones
    selected: int = 8  # of a user, at most
    threshold: float = 0.45  # θ, of the cosine
    weights: str = "softmax"  # of the selected: softmax of the cosines over all codes (Eq. 2) | cosine
    temperature: float = 0.1  # τ of that softmax
    gate: str = "straight_through"  # a weight lets a gradient through | scaled: and scales its prompt | off
    commitment: float = 0.25  # of e_u to its codes, beside that of the codes to e_u
    orthogonality: str = "squared"  # mean squared cosine of two codes | signed: sum of cosines, Eq. 6 as printed
    fusion: str = "attention"  # attention: Eq. 7 | concat: CoCo_fea | mlp: CoCo_mlp
    heads: int = 1  # of the alignment attention
    residual: bool = True  # h_RS plus what is fused, which starts at 0; false: what is fused alone, as printed
    elimination: str = "adapter"  # M = 1 stops what reaches LoRA | aligned: all of L_r, Eq. 9 as printed
    # | off: LoRA stays as it is
    overlap: bool = False  # a step's knowledge is asked for before the last step's update, while that one computes
    positions: str = "last"  # L_r is of the last position, the one with knowledge | all: of the others too, without
    alpha: float = 0.2  # weight of L_aux
    beta: float = 0.15  # of L_ortho
    gamma: float = 0.25  # of L_Q
    width: int = 0  # D, the language model's; 0 asks it, as for the next two
    knowledge_width: int = 0  # of what it answers: llm.d
    scale: float = 0.0  # root mean square of its input embeddings; drawn prompts get it

    def __post_init__(self) -> None:
        for name in ("codes", "selected", "heads", "shared_experts", "dedicated_experts"):
            at_least(name, getattr(self, name), 1)
        at_least("shared", self.shared, 0 if self.fixed else 1)
        require(self.selected <= self.codes, "selected", f"must be at most codes ({self.codes})", self.selected)
        require(-1 <= self.threshold <= 1, "threshold", "must be from -1 to 1", self.threshold)
        above("temperature", self.temperature, 0)
        one_of("adapter", self.adapter, ("linear", "none", "experts"))
        one_of("weights", self.weights, ("softmax", "cosine"))
        one_of("gate", self.gate, ("straight_through", "scaled", "off"))
        one_of("orthogonality", self.orthogonality, ("squared", "signed"))
        one_of("fusion", self.fusion, ("attention", "concat", "mlp"))
        one_of("elimination", self.elimination, ("adapter", "aligned", "off"))
        one_of("positions", self.positions, ("last", "all"))
        names = ("commitment", "alpha", "beta", "gamma", "width", "knowledge_width", "scale")
        for name in names:
            at_least(name, getattr(self, name), 0)
        if self.fixed:
            require(bool(self.prompts), "prompts", "must name a file with fixed", self.prompts)
        if self.source:
            require(not self.prompts, "prompts", "must be empty with source, which has none", self.prompts)

    @property
    def selects(self) -> bool:
        """Whether there is a codebook, from which each user's prompts are selected."""
        return not (self.fixed or self.source)

    @property
    def stored(self) -> bool:
        """Whether knowledge is read that was computed before training."""
        return self.enabled and bool(self.source)

    @property
    def live(self) -> bool:
        """Whether a language model is asked, in a side process."""
        return self.enabled and not self.source


@dataclass(frozen=True)
class TrainConfig:
    batch: int = 512
    epochs: int = 50
    seed: int = 1
    steps_per_schedule: int = 10  # steps unrolled in one remote call
    working_set: str = "auto"  # on: a worker pulls what a remote call touches, trains on that, pushes the moves;
    # off: it reads and updates the servers at every step; auto: on with one worker, where both give the same model
    wire: str = "float32"  # between workers and servers; bfloat16: parameters and gradients travel rounded
    prefetch: bool = False  # the next step's rows are read before this step's update; with working_set off
    validate_every: int = 1  # epochs
    patience: int = 10  # validations without a better NDCG@10 before stopping; 0 never stops
    checkpoint_every: int = 1  # epochs
    checkpoint_minutes: float = 10.0  # between checkpoints within an epoch; 0 writes none there
    keep_checkpoints: int = 2
    average: float = 0.0  # decay of the weights' moving average over epochs, which is then what is used; 0 is off
    start_from: str = ""  # models/<variant> whose best checkpoint this one starts from, see trainer.warm_start; in a
    # run's config also the name of a variant, which is then trained first
    cluster: str = ""  # "ps=2,workers=2" spawns a local cluster; "" trains in-process
    metrics_port: int = 0  # where the coordinator serves its counters to Prometheus; 0 is nowhere
    hang_seconds: float = 120.0  # a remote call may take this long, or ten times the usual; then its worker hangs
    grace_seconds: float = 20.0  # from SIGTERM to the end, a checkpoint included; Kubernetes gives 30
    model: ModelConfig = field(default_factory=ModelConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)  # s3rec: epochs before those of ``epochs``
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    llm: LinkConfig = field(default_factory=LinkConfig)
    coco: CocoConfig = field(default_factory=CocoConfig)

    def __post_init__(self) -> None:
        counts = ("batch", "epochs", "steps_per_schedule", "validate_every", "checkpoint_every")
        for name in (*counts, "keep_checkpoints"):
            at_least(name, getattr(self, name), 1)
        one_of("working_set", self.working_set, ("auto", "on", "off"))
        one_of("wire", self.wire, ("float32", "bfloat16"))
        if self.prefetch:
            require(not self.coco.overlap, "coco.overlap", "must be false with prefetch", self.coco.overlap)
            require(self.working_set == "off", "working_set", "must be 'off' with prefetch", self.working_set)
            require(self.loss.kind != "softmax", "loss.kind", "must read some rows with prefetch", self.loss.kind)
        require(0 <= self.metrics_port < 65536, "metrics_port", "must be at least 0 and below 65536", self.metrics_port)
        for name in ("patience", "checkpoint_minutes"):
            at_least(name, getattr(self, name), 0)
        for name in ("hang_seconds", "grace_seconds"):
            above(name, getattr(self, name), 0)
        if self.llm.address:
            rule = f"must be below hang_seconds ({self.hang_seconds:g}), after which a worker counts as hanging"
            require(self.llm.wait_seconds < self.hang_seconds, "llm.wait_seconds", rule, self.llm.wait_seconds)
        if self.coco.enabled:
            heads, d = self.coco.heads, self.model.d
            require(d % heads == 0, "coco.heads", f"must divide model.d ({d})", heads)
        if self.coco.stored and self.coco.adapter == "experts":
            knowledge, width = self.model.knowledge, self.model.knowledge_width
            require(bool(knowledge), "model.knowledge", "must be set with coco.adapter 'experts'", knowledge)
            require(not width, "model.knowledge_width", "must be 0 with coco.adapter 'experts'", width)
        require(0 <= self.average < 1, "average", "must be at least 0 and below 1", self.average)
        if self.model.kind != "s3rec":
            rule = f"must be 0 with model.kind {self.model.kind!r}"
            require(not self.pretrain.epochs, "pretrain.epochs", rule, self.pretrain.epochs)
        if self.start_from:
            rule = "must be 0 with start_from: the other model's weights are the start"
            require(not self.pretrain.epochs, "pretrain.epochs", rule, self.pretrain.epochs)
        if self.cluster:
            ClusterSize.parse(self.cluster)

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

    def __post_init__(self) -> None:
        at_least("top_k", self.top_k, 1)
        at_least("warmup_requests", self.warmup_requests, 0)
