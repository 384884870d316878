"""The parameters of the simulated market. They were written before any model was run on it, and stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from feature_store.checks import above, at_least, iso_time, require


@dataclass(frozen=True)
class MarketConfig:
    """A market; every row follows from these numbers.

    The log-odds of a click are c + `taste_click` a + `appeal_click` b - `position_click` place, those of a purchase
    after a click are k + `taste_convert` a + `quality_convert` q - `price_convert` |r - p| - `purpose` log activity:
    a is the user's taste for the item, b the item's appeal on the day, q its quality, r its price within its category
    and p what the user likes to pay, all of variance about 1. c and k are found so that `click_rate` and
    `conversion_rate` hold.

    A taste is `shared_taste` (as a share of its variance) that of the user's segment, else the user's own. Of a
    segment's, `branch_taste` is that of one of its branches, which no attribute tells of.

    `null_world`: each user's taste for each item is drawn by itself. It follows from no attribute, no search, no other
    item and no other user, prices and activity do not matter, and everybody is shown the same: nothing that a group of
    users has in common tells of a purchase.
    """

    users: int = 20_000
    seed: int = 0
    null_world: bool = False
    days: int = 14
    start: str = "2025-06-02"  # first day, UTC
    items_per_leaf: int = 40  # of the category tree's leaves

    clicks_per_user: float = 24.0  # mean over all days
    regular_share: float = 0.18  # of the users: the regulars ...
    regular_clicks: float = 0.9  # ... and the share of all clicks that is theirs
    activity_spread: float = 0.5  # deviation of log activity among the regulars, and among the others
    past_days: int = 90  # before the first day, of which only the purchases are known
    past_purchases: float = 6.0  # mean of a user in these
    page: int = 6  # impressions of a page
    search_pages: float = 0.3  # share of the pages that answer a search: all of one category
    panel_pages: int = 4  # shown to every user on the last day besides, to measure the inactive; they leave no events
    unclicked: float = 1.0  # share of the impressions without a click that the log keeps
    searches_per_user: float = 3.0

    shared_taste: float = 0.7
    branch_taste: float = 0.3
    attribute_signal: float = 0.75  # share of attributes that are the segment's; the others are everybody's
    search_signal: float = 0.8  # share of searches that follow the taste; the others are anything
    personal_feed: float = 0.6  # share of impressions that follow the taste; the others follow popularity
    hidden_regular: float = 0.05  # share of a regular's attributes that is not known
    hidden_other: float = 0.35
    drift: float = 0.5  # angle that the segments' tastes turn over all days, in radians
    item_drift: float = 1.0  # deviation of the change of an item's appeal over all days

    click_rate: float = 0.33
    conversion_rate: float = 0.1  # of clicks
    taste_click: float = 0.8
    appeal_click: float = 0.6
    position_click: float = 0.1
    taste_convert: float = 1.2
    quality_convert: float = 0.7
    price_convert: float = 0.6
    purpose: float = 0.3  # log-odds of a purchase that each e-fold less activity adds

    def __post_init__(self) -> None:
        for name in ("users", "days", "items_per_leaf", "page"):
            at_least(name, getattr(self, name), 2 if name == "days" else 1)
        counts = ("seed", "past_days", "past_purchases", "panel_pages", "searches_per_user")
        for name in (*counts, "activity_spread", "item_drift", "drift"):
            at_least(name, getattr(self, name), 0)
        above("clicks_per_user", self.clicks_per_user, 0)
        for name in ("regular_share", "regular_clicks", "click_rate", "conversion_rate"):
            require(0 < getattr(self, name) < 1, name, "must be between 0 and 1", getattr(self, name))
        shares = ("search_pages", "shared_taste", "branch_taste", "attribute_signal", "search_signal")
        for name in (*shares, "personal_feed", "unclicked", "hidden_regular", "hidden_other"):
            require(0 <= getattr(self, name) <= 1, name, "must be from 0 to 1", getattr(self, name))
        iso_time("start", self.start)

    @property
    def first_second(self) -> int:
        """When the first day begins, seconds since 1970."""
        return int(datetime.fromisoformat(self.start).replace(tzinfo=UTC).timestamp())

    @property
    def test_start(self) -> int:
        """When the last day begins, which is the test, microseconds since 1970."""
        return (self.first_second + 86_400 * (self.days - 1)) * 1_000_000
