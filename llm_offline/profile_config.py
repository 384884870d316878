"""What a user sets about users' profiles and the groups that are made of them (ChoirRec)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from feature_store.checks import above, at_least, iso_time, one_of, require
from llm_offline.config import EncoderConfig, GenerateConfig


@dataclass(frozen=True)
class ProfileEncoderConfig(EncoderConfig):
    """The text encoder of profiles (section 4.2.2); the paper's keeps 512 of 4,096 dimensions."""

    section: ClassVar[str] = "encoder"
    max_tokens: int = 256


@dataclass(frozen=True)
class ProfileGenerateConfig(GenerateConfig):
    """The language model that writes profiles."""

    max_tokens: int = 768
    max_new_tokens: int = 96  # of a whole profile


@dataclass(frozen=True)
class ProfileConfig:
    """A profile of each user, from what is known when training ends (section 4.2.1)."""

    section: ClassVar[str] = "profiles"
    mode: str = "template"  # template: what is known, verbalised, is the profile | generate: a model writes it
    end: str = ""  # nothing from this time on is read: ISO 8601, UTC; "": the data's own test, else the log's end
    purchase: str = "purchase"  # the event type of a purchase; "" takes all events
    recent_days: float = 7.0  # of the windows before the end that purchases are told in
    medium_days: float = 30.0
    long_days: float = 0.0  # 0: all that is older
    categories: int = 5  # the most frequent of each window
    searches: int = 4  # the newest different ones
    attributes: tuple[str, ...] = ()  # columns of the users, in this order; () is all
    noun: str = "goods"  # what the items are called, in the plural
    encode: str = "facts"  # facts: what a profile says, fact by fact | whole: its text, for large encoders
    ask: str = "apart"  # generate: together, one prompt for all three lines | apart, one for each, for small models
    generate: ProfileGenerateConfig = field(default_factory=ProfileGenerateConfig)  # generate
    encoder: ProfileEncoderConfig = field(default_factory=ProfileEncoderConfig)

    def __post_init__(self) -> None:
        one_of("mode", self.mode, ("template", "generate"))
        one_of("ask", self.ask, ("together", "apart"))
        one_of("encode", self.encode, ("facts", "whole"))
        above("recent_days", self.recent_days, 0)
        above("medium_days", self.medium_days, self.recent_days)
        require(
            self.long_days == 0 or self.long_days > self.medium_days,
            "long_days",
            f"must be 0 or above medium_days ({self.medium_days:g})",
            self.long_days,
        )
        at_least("categories", self.categories, 1)
        at_least("searches", self.searches, 0)
        if self.end:
            iso_time("end", self.end)

    @property
    def writer(self) -> GenerateConfig:
        """What each prompt is answered with: where the lines are asked for apart, a third of the tokens."""
        if self.ask == "together":
            return self.generate
        return replace(self.generate, max_new_tokens=-(-self.generate.max_new_tokens // 3))


@dataclass(frozen=True)
class GroupConfig:
    """RQ-KMeans over the profiles' vectors (Eqs. 2 and 3), and which prefixes of its codes are groups."""

    section: ClassVar[str] = "groups"
    levels: int = 3  # M
    k: int = 256  # centroids a level
    min_members: int = 50  # n_min: a group of fewer is part of the next coarser one
    sample: int = 65536  # users that the centroids are learnt from, by a hash of their ids
    iterations: int = 25
    seed: int = 1
    keep: str = ""  # folder of earlier groups: their codebook and groups stay, users are assigned, nothing is learnt

    def __post_init__(self) -> None:
        for name in ("levels", "min_members", "iterations"):
            at_least(name, getattr(self, name), 1)
        at_least("k", self.k, 2)
        at_least("sample", self.sample, self.k)
