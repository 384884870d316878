"""Settings of ChoirRec (Zhai et al., 2026), a part of `trainer.requests.config.RequestTrainConfig`."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.checks import above, at_least, one_of, require


@dataclass(frozen=True)
class ChoirConfig:
    """Which features are the groups', and every choice that the paper leaves open or ablates."""

    # The requests' features, by name.
    sequence: str = "bought"  # S_u^buy
    group_sequence: str = "group_sequence"  # S_G
    codes: tuple[str, ...] = ("group_1", "group_2", "group_3")  # of the group's id, from the coarsest level
    prior: str = "prior_"  # what the name of a group's attribute begins with; the rest is the user's attribute
    activity: tuple[str, ...] = ("bought_count",)  # what the reliability network reads, beside |S_u^buy|
    # §4.3
    group_id: bool = True  # e_G is read
    group_attributes: bool = True  # e_P_G is read, and completes the user's attributes
    group_behaviour: bool = True  # S_G is read
    complete: bool = True  # a missing attribute of the user is the group's, in the individual channel
    parent: str = "fused"  # fused | base: what Eq. 5 joins with a level's own vector; it prints the second
    # §4.4
    dual: bool = True  # two channels; without, everything goes through one
    inject: bool = True  # Eq. 6
    detach_injected: bool = True  # the injected h_group,mid takes no gradient: the group channel is isolated
    distill: str = "margin"  # margin | kl: Eq. 7, or the Kullback-Leibler divergence of the two predictions
    distill_weight: float = 0.005  # λ of Eq. 11; 0 leaves distillation out
    temperature: float = 1.0  # T
    margin: float = 0.05  # m
    detach_teacher: bool = True  # L_KD moves the group channel alone
    floor: float = -1.0  # α_distill is taken as floor + (1 − floor) α and takes L_KD's gradient; below 0 it takes none
    min_purchases: int = 3  # θ_act: of a user whose predictions teach
    confidence: str = "base_rate"  # base_rate | printed: |z_ind − logit(base rate)| or |σ(z_ind) − 0.5| is above θ_conf
    min_confidence: float = 0.5  # θ_conf
    channel_weight: float = 0.0  # of the two channels' own cross-entropies
    reliability: tuple[int, ...] = (16,)  # widths inside the reliability network

    def __post_init__(self) -> None:
        for name in ("codes", "activity", "reliability"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        one_of("parent", self.parent, ("fused", "base"))
        one_of("distill", self.distill, ("margin", "kl"))
        one_of("confidence", self.confidence, ("base_rate", "printed"))
        for name in ("distill_weight", "margin", "min_purchases", "min_confidence", "channel_weight"):
            at_least(name, getattr(self, name), 0)
        above("temperature", self.temperature, 0)
        require(self.floor < 1, "floor", "must be below 1", self.floor)
        for name in ("codes", "reliability"):
            require(bool(getattr(self, name)), name, "must hold at least one", getattr(self, name))
        for width in self.reliability:
            at_least("reliability", width, 1)
