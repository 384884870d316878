"""Settings of CoCo and of its link to the language model, a part of `trainer.config.TrainConfig`."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.checks import above, at_least, one_of, require


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
    refresh: bool = False  # knowledge is stored, and in rounds made anew for the users it failed (``antiphon refresh``)
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
    commitment: float = 0.0  # of e_u to its codes, beside that of the codes to e_u: with it all users come to one e_u
    orthogonality: str = "squared"  # mean squared cosine of two codes | signed: sum of cosines, Eq. 6 as printed
    fusion: str = "attention"  # attention: Eq. 7 | concat: CoCo_fea | mlp: CoCo_mlp
    heads: int = 1  # of the alignment attention
    concatenation: str = "features"  # Eq. 7's: h_RS with each piece of knowledge | tokens: all positions beside them
    residual: bool = True  # h_RS plus what is fused, which starts at 0; false: what is fused alone, as printed
    elimination: str = "adapter"  # M = 1 stops what reaches LoRA | aligned: all of L_r, Eq. 9 as printed
    # | off: LoRA stays as it is
    overlap: bool = False  # a step's knowledge is asked for before the last step's update, while that one computes
    positions: str = "last"  # L_r is of the last position, the one with knowledge | all: of the others too, without
    exclude_seen: bool = True  # where there is knowledge, no drawn negative of L_r is an item that was met by then
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
        one_of("concatenation", self.concatenation, ("features", "tokens"))
        one_of("elimination", self.elimination, ("adapter", "aligned", "off"))
        one_of("positions", self.positions, ("last", "all"))
        names = ("commitment", "alpha", "beta", "gamma", "width", "knowledge_width", "scale")
        for name in names:
            at_least(name, getattr(self, name), 0)
        if self.fixed:
            require(bool(self.prompts), "prompts", "must name a file with fixed", self.prompts)
        if not self.prompted:
            require(not self.prompts, "prompts", "must be empty with source, which has none", self.prompts)
        if self.refresh:
            require(self.enabled, "enabled", "must be true with refresh", self.enabled)
            rule = "must not be 'off' with refresh, which learns from the users that were failed"
            require(self.elimination != "off", "elimination", rule, self.elimination)

    @property
    def selects(self) -> bool:
        """Whether there is a codebook, from which each user's prompts are selected."""
        return self.prompted and not self.fixed

    @property
    def prompted(self) -> bool:
        """Whether knowledge is of prompts: a side process's, or that of a round. Other stored knowledge has none."""
        return self.refresh or not self.source

    @property
    def stored(self) -> bool:
        """Whether knowledge is read that was computed before training."""
        return self.enabled and bool(self.source)

    @property
    def live(self) -> bool:
        """Whether a language model is asked, in a side process."""
        return self.enabled and not (self.source or self.refresh)
