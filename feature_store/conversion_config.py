"""How clicked impressions become requests to learn conversion from."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.checks import at_least, iso_time, require


@dataclass(frozen=True)
class ConversionConfig:
    """Which purchases count, where the splits part, and how long each list is."""

    purchase: str = "purchase"  # the event type of what a user bought; "" takes all events
    test_start: str = ""  # ISO 8601, UTC where it has no offset; "" is what the tables say
    overlap: bool = False  # also learn from the window that groups and priors were made of, which know its purchases
    valid_share: float = 1 / 13  # of the clicked impressions to learn from, the latest are for validation
    history: int = 50  # bought items of a user, and clicked but not bought ones
    group_history: int = 50  # items of a group
    categories: int = 4  # of an item, from the root
    top_categories: int = 20  # of a group
    user_buckets: int = 0  # hash buckets of users' ids, as a feature; 0 leaves ids out
    numeric: tuple[str, ...] = ()  # int64 columns that are numbers, read by their logarithm; others are ids
    logged: tuple[str, ...] = ("price",)  # float32 columns, of those there are, that are read by their logarithm
    leave_one_out: bool = True  # priors are those of the user's group without the user, where they were made so
    shards: int = 8  # of the training split

    def __post_init__(self) -> None:
        for name in ("numeric", "logged"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        if self.test_start:
            iso_time("test_start", self.test_start)
        require(0 < self.valid_share < 1, "valid_share", "must be above 0 and below 1", self.valid_share)
        for name in ("history", "group_history", "categories", "top_categories", "shards"):
            at_least(name, getattr(self, name), 1)
        at_least("user_buckets", self.user_buckets, 0)
