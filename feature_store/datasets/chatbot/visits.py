"""When users come to the chatbot, from which page, and what happened just before."""

from __future__ import annotations

import numpy as np

from feature_store.datasets.chatbot.dictionaries import DICTIONARIES, code
from feature_store.datasets.chatbot.draws import chance, choose, yes
from feature_store.datasets.chatbot.regions import sale_phase
from feature_store.datasets.chatbot.users import Columns

MOST = 12
"""Visits of a user, at most."""
_HOURS = (2, 1, 1, 1, 1, 2, 3, 5, 7, 9, 10, 10, 10, 9, 9, 9, 9, 9, 9, 10, 11, 10, 8, 5)
_ENTRIES = {"Home Page": 1, "Order Page": 1, "Shipping Page": 0.3, "Payment Page": 0.35, "Cart Page": 0.5,
            "Refund Page": 0.2, "Voucher Wallet": 0.5, "Coins Page": 0.35, "Account Settings": 0.7, "Wallet Page": 0.5,
            "Product Page": 0.6, "Shop Page": 0.4, "Live Room": 0.2, "Help Centre": 1.6, "Seller Centre": 0.03,
            "Notifications": 0.6}  # fmt: skip
_BY_STATUS: dict[str, dict[str, float]] = {
    "TO_PAY": {"Payment Page": 3, "Order Page": 2},
    "PAID": {"Order Page": 4}, "PACKED": {"Order Page": 4, "Shipping Page": 0.7},
    "SHIPPED": {"Shipping Page": 4, "Order Page": 2.5, "Notifications": 0.6},
    "DELAYED": {"Shipping Page": 4, "Order Page": 2.5, "Help Centre": 1},
    "OUT_FOR_DELIVERY": {"Shipping Page": 5, "Notifications": 1.5},
    "DELIVERED": {"Order Page": 3, "Refund Page": 2, "Shipping Page": 0.7}, "COMPLETED": {"Order Page": 1},
    "CANCELLED": {"Order Page": 3, "Refund Page": 1.5}, "RETURN_REQUESTED": {"Refund Page": 5, "Order Page": 1.5},
    "RETURNED": {"Refund Page": 5}, "REFUNDED": {"Refund Page": 3, "Wallet Page": 1.5},
    "LOST": {"Shipping Page": 3, "Refund Page": 2, "Help Centre": 1},
}  # fmt: skip
"""How often a visit begins on each page, and what the order's status adds to that."""

_STEPS = {"placed": 1.0, "shipped": 1.0, "delivered": 1.5, "cancelled": 3.0, "asked": 3.0, "processing": 2.0,
          "lost": 4.0}  # fmt: skip
_LATE = 3.0
"""How often a visit follows each step of an order, and its promised day where that has passed."""


def moments(
    rng: np.random.Generator, users: Columns, orders: Columns, first: float, last: float, visits: float
) -> tuple[np.ndarray, np.ndarray]:
    """Visits sorted by (user, day): user (S,) and day (S,), which holds the hour too.

    Two of three follow an order, within days of a step of it, rather of one that went wrong; the others come any day.
    Some users come often.
    """
    n = len(users["region"])
    rate = visits * (last - first) / 28 * rng.gamma(2.0, 0.5, n)
    counts = np.minimum(rng.poisson(rate), MOST)
    user = np.repeat(np.arange(n), counts)
    size = len(user)
    day = rng.uniform(first, last, size)
    starts = np.searchsorted(orders["user"], user)
    owned = np.searchsorted(orders["user"], user, side="right") - starts
    if len(orders["user"]):
        chosen = np.minimum(starts + (rng.random(size) * owned).astype(int), len(orders["user"]) - 1)
        after = _after_a_step(rng, {name: values[chosen] for name, values in orders.items()})
        follows = (owned > 0) & chance(rng, size, 2 / 3) & (after >= first) & (after < last)
        day = np.where(follows, after, day)
    hour = choose(rng, size, _HOURS) - 1
    day = np.floor(day) + (hour + rng.random(size)) / 24
    order = np.lexsort((day, user))
    return user, day[order]


def _after_a_step(rng: np.random.Generator, order: Columns) -> np.ndarray:
    n = len(order["placed"])
    over = np.minimum(order["delivered"], order["lost"])
    late = np.where(over > order["promised"], order["promised"], np.inf)
    late = np.where(np.isfinite(order["cancelled"]), np.inf, late)
    steps = np.stack([late, *(order[name] for name in _STEPS)], axis=1)
    chosen = choose(rng, n, np.isfinite(steps) * np.array([_LATE, *_STEPS.values()])) - 1
    return steps[np.arange(n), chosen] + rng.exponential(2.0, n)


def visit(rng: np.random.Generator, users: Columns, user: np.ndarray, day: np.ndarray, order: Columns) -> Columns:
    """Columns of the visits (S,): the entry point and what happened within the last day."""
    n = len(user)
    own = {name: users[name][user] for name in ("is_seller", "live_watcher", "game_player", "has_paylater")}
    seller, lives, plays = own["is_seller"] == 2, own["live_watcher"] == 3, own["game_player"] == 3
    names = list(_ENTRIES)
    by_status = np.array([[_ENTRIES[entry] + _BY_STATUS.get(word, {}).get(entry, 0.0) for entry in names]
                          for word in DICTIONARIES["order_status"].values()])  # fmt: skip
    weights = by_status[order["order_status"] - 1]
    for where, entry, more in ((seller, "Seller Centre", 4.0), (lives, "Live Room", 1.2), (plays, "Coins Page", 1.2)):
        weights[:, names.index(entry)] += more * where
    entry = choose(rng, n, weights)

    def at(*pages: str) -> np.ndarray:
        return np.isin(entry, [code("entry_point", page) for page in pages])

    sale = sale_phase(day)
    buying = at("Payment Page", "Cart Page")
    errors = np.tile(np.array([0.0, 3, 3, 1, 2, 1, 1.5]), (n, 1))
    errors[sale == 3] *= np.array([0, 1, 1.5, 1, 4, 3, 1.5])
    wrong = chance(rng, n, np.where(buying, 0.4, 0.01))
    failing = (order["payment_state"] == code("payment_state", "Failed")) | at("Payment Page")
    troubled = chance(rng, n, np.where(at("Account Settings", "Help Centre"), 0.12, 0.02))
    pushes = np.tile(np.array([3.0, 2, 2, 0.8, 0.35, 0.0]), (n, 1))
    pushes[order["order_status"] == 1, 1] = 0.0
    pushes[own["has_paylater"] == 2, 5] = 0.7
    cart = np.where(buying, 1 + rng.poisson(3.0, n), rng.poisson(1.5, n)).astype(float)
    return {
        "entry_point": entry,
        "hour": np.floor(day % 1 * 24),
        "weekday": (np.floor(day).astype(np.int64) % 7) + 1,
        "sale_day": sale,
        "last_push": choose(rng, n, pushes),
        "failed_payments_24h": rng.poisson(np.where(failing, 0.7, 0.02)).astype(float),
        "login_failures_24h": np.where(troubled, 1 + rng.poisson(1.5, n), 0).astype(float),
        "checkout_error": np.where(wrong, choose(rng, n, errors), 1),
        "cart_items": cart,
        "cart_value": (cart * rng.lognormal(2.4, 0.7, n)).round(2),
        "from_live": yes(at("Live Room") | chance(rng, n, np.where(lives, 0.15, 0.01))),
        "minutes_in_app": np.floor(rng.exponential(11, n)) + 1,
    }


def past(rng: np.random.Generator, user: np.ndarray, day: np.ndarray) -> Columns:
    """What earlier visits came to, for visits sorted by (user, day): whether each was solved (one in three was not),
    and of the thirty days before each the number of chats and of unsolved ones."""
    n = len(user)
    solved = chance(rng, n, 2 / 3)
    wide = 1e6
    keys = user * wide + day
    begins = np.searchsorted(keys, user * wide + day - 30)
    begins = np.maximum(begins, np.searchsorted(user, user))
    unsolved = np.concatenate([[0], np.cumsum(~solved)])
    here = np.arange(n)
    return {
        "solved": yes(solved),
        "sessions_30d": (here - begins).astype(float),
        "unsolved_dialogues": (unsolved[here] - unsolved[begins]).astype(float),
    }
