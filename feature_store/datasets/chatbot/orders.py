"""How an order lives: paid, packed, shipped, delivered, with what may go wrong on each step.

Times are days; infinity where a step never comes.
"""

from __future__ import annotations

import numpy as np

from feature_store.datasets.chatbot.dictionaries import TRACKING_EVENTS, code
from feature_store.datasets.chatbot.draws import chance, choose, ranges, yes
from feature_store.datasets.chatbot.regions import REGIONS, sale_phase
from feature_store.datasets.chatbot.users import Columns

MOST = 10
"""Orders of a user, at most."""
_LEAD_DAYS = 20.0  # orders are placed from so long before the first visit
_TRANSIT = np.array([3.5, 1.5, 6.0, 3.5, 0.3])  # days on the road by shipping option
_INCIDENTS = ("none", "in_hub", "customs", "address_problem", "could_not_reach", "nobody_home", "damaged_in_transit",
              "lost")  # fmt: skip
_INCIDENT_WEIGHTS = np.array([70, 11, 0, 4, 4, 6, 3, 1.5])
_CUSTOMS_WEIGHT = 14  # of an order from abroad
_INCIDENT_DAYS = np.array([0.0, 4.0, 5.0, 2.0, 1.5, 1.5, 1.0, 0.0])  # on average, added to the road
_RETURNS = np.array([0.17, 0.16, 0.13, 0.12, 0.07, 0.09, 0.12, 0.04, 0.06, 0.08, 0.05, 0.08])  # by category


def orders(rng: np.random.Generator, users: Columns, first: float, last: float) -> Columns:
    """All orders of the users, sorted by (user, placed): what was bought, and the time of each step.

    - Cards and wallets pay at once, one in fourteen fails first; transfers, stores and boletos take half a day, and one
      in eight is never paid: the system then cancels after a day and a half.
    - Shops pack within a day or so, slower in a sale and where they answer slowly; a pre-order takes four to twelve
      days more.
    - The road takes as long as option, region and border say; one order in four meets an incident, which adds days.
      The promised day leaves two days and a seventh of the road's time as slack.
    - Of its texts an order keeps the choice, as four numbers in [0, 1): adjective and noun of the product, phrase and
      place of the carrier's message.
    - A return is asked for within days of delivery, twice as often for clothes, half of the time after damage; one in
      six is refused. Money comes back two or three days after the goods, or four days after a cancellation.
    """
    counts = np.minimum(rng.poisson(users["order_rate"] * (last - first + _LEAD_DAYS)), MOST)
    user = np.repeat(np.arange(len(counts)), counts)
    n = len(user)
    placed = rng.uniform(first - _LEAD_DAYS, last, n)
    placed = placed[np.lexsort((placed, user))]
    found = _bought(rng, users, user, placed)
    region = users["region"][user] - 1
    abroad = found["cross_border"] == 2
    sale = sale_phase(placed) >= 3

    deferred = np.isin(found["payment_method"], [code("payment", name) for name in _DEFERRED])
    at_door = found["payment_method"] == code("payment", "Cash on delivery")
    fails = ~deferred & ~at_door & chance(rng, n, 0.07)
    wait = np.where(deferred, rng.exponential(0.6, n), np.where(fails, rng.exponential(0.7, n), 0.01))
    never = np.where(deferred, chance(rng, n, 0.12), fails & chance(rng, n, 0.3))
    paid = np.where(never, np.inf, placed + np.where(at_door, 0.0, wait))

    slow = 1 + 0.8 * (found["seller_reply_hours"] > 24) + 0.6 * sale
    preorder = np.where(found["is_preorder"] == 2, rng.uniform(4, 12, n), 0.0)
    packed = paid + rng.exponential(1.0, n) * slow + preorder
    shipped = packed + rng.exponential(0.5, n) * slow
    buyer = np.where(chance(rng, n, 0.06), placed + rng.exponential(0.7, n), np.inf)
    seller = np.where(chance(rng, n, 0.035), paid + rng.exponential(1.5, n), np.inf)
    system = np.where(never, placed + 1.5, np.inf)
    times = np.stack([buyer, seller, system])
    cancelled = times.min(0)
    cancelled = np.where(cancelled < shipped, cancelled, np.inf)
    found["cancelled_by"] = np.where(np.isfinite(cancelled), times.argmin(0) + 2, 1)
    called_off = np.isfinite(cancelled)
    paid = np.where(paid > cancelled, np.inf, paid)
    shipped = np.where(called_off, np.inf, shipped)

    weights = np.tile(_INCIDENT_WEIGHTS, (n, 1))
    weights[abroad, _INCIDENTS.index("customs")] = _CUSTOMS_WEIGHT
    incident = choose(rng, n, weights) - 1
    usual = _TRANSIT[found["shipping_option"] - 1] * np.array([r.transit for r in REGIONS])[region]
    usual = usual * np.where(abroad, 2.2, 1.0)
    road = usual * rng.lognormal(0, 0.35, n) * (1 + 0.3 * sale)
    delivered = shipped + road + rng.exponential(1.0, n) * _INCIDENT_DAYS[incident]
    lost = np.where(incident == _INCIDENTS.index("lost"), shipped + road + 8, np.inf)
    delivered = np.where(np.isfinite(lost), np.inf, delivered)
    out = np.maximum(delivered - rng.uniform(0.1, 0.5, n), shipped)

    damaged = incident == _INCIDENTS.index("damaged_in_transit")
    returns = chance(rng, n, np.where(damaged, 0.5, _RETURNS[found["order_category"] - 1]))
    asked = np.where(returns, delivered + rng.exponential(2.0, n), np.inf)
    decided = asked + rng.exponential(2.0, n)
    refused = chance(rng, n, 1 / 6)
    sent = np.where(refused, np.inf, decided + rng.exponential(2.0, n))
    received = sent + rng.exponential(3.0, n)
    refund_from = np.minimum(asked, np.minimum(lost + rng.exponential(1.0, n), cancelled + 0.1))
    refund_from = np.where(called_off & (~np.isfinite(paid) | at_door), np.inf, refund_from)
    processing = np.where(np.isfinite(asked), received, refund_from + rng.exponential(1.0, n))
    refunded = processing + rng.exponential(2.5, n) * np.where(called_off, 1.6, 1.0)
    return found | {
        "user": user, "placed": placed, "paid": paid, "packed": packed, "shipped": shipped, "out": out,
        "delivered": delivered, "lost": lost, "cancelled": cancelled, "incident": incident, "fails": fails,
        "promised": np.where(np.isfinite(paid), paid, placed) + preorder + 2.0 + 1.15 * usual,
        "completed": delivered + np.minimum(rng.exponential(6.0, n) + 0.5, 7.0),
        "asked": asked, "decided": decided, "refused": refused, "sent": sent, "received": received,
        "refund_from": refund_from, "processing": processing, "refunded": refunded,
        "refund_share": np.where(chance(rng, n, 0.15), rng.uniform(0.5, 0.93, n), 1.0),
        "reviewed": np.where(chance(rng, n, 0.45), delivered + rng.exponential(5.0, n), np.inf),
        "arrival": choose(rng, n, (0.7, 0.15, 0.15)) - 1,
        "attempts": np.where(np.isin(incident, (3, 4, 5)), 1 + rng.poisson(0.5, n), 0),
    }  # fmt: skip


_DEFERRED = ("Bank transfer", "Convenience store", "Boleto")


def _bought(rng: np.random.Generator, users: Columns, user: np.ndarray, placed: np.ndarray) -> Columns:
    n = len(user)
    region = users["region"][user] - 1
    abroad = chance(rng, n, np.array([r.abroad for r in REGIONS])[region])
    seller = np.where(abroad, code("seller_type", "Overseas shop"), choose(rng, n, (0.25, 0.35, 0.4)))
    category = np.where(chance(rng, n, 0.5), users["favourite_category"][user],
                        choose(rng, n, (4, 2, 2, 2, 3, 3, 1, 3, 1.5, 1.5, 1, 1.5)))  # fmt: skip
    payments = np.array([r.payments for r in REGIONS])[region]
    dear = np.isin(category, [code("category", name) for name in ("Electronics", "Phones", "Appliances")])
    return {
        "order_category": category,
        "order_value": (rng.lognormal(3.0, 0.8, n) * np.where(dear, 2.5, 1.0)).round(2),
        "order_items": (1 + rng.poisson(0.9, n)).astype(float),
        "payment_method": np.where(chance(rng, n, 0.75), users["default_payment"][user], choose(rng, n, payments)),
        "shipping_option": choose(rng, n, (0.5, 0.15, 0.17, 0.14, 0.04)),
        "carrier": choose(rng, n, (3, 1.5, 2, 1, 1, 1, 1, 0.5)),
        "cross_border": yes(abroad),
        "seller_type": seller,
        "seller_rating": np.clip(rng.normal(4.65, 0.35, n) - 0.12 * (seller - 1), 2.5, 5).round(1),
        "seller_reply_hours": (rng.exponential(7, n) * np.where(seller >= 3, 2.2, 1.0)).round(1),
        "voucher_used": choose(rng, n, (0.5, 0.2, 0.12, 0.18)),
        "coins_used": np.where(chance(rng, n, 0.25), rng.integers(5, 200, n), 0).astype(float),
        "is_preorder": yes(chance(rng, n, 0.06)),
        "has_protection": yes(dear & chance(rng, n, 0.2)),
        **{name: rng.random(n) for name in ("adjective", "noun", "phrase", "place")},
    }


def latest(orders: Columns, user: np.ndarray, day: np.ndarray) -> np.ndarray:
    """(S,) the newest order of each user that was placed by the day; -1 where there is none."""
    if not len(orders["user"]):
        return np.full(len(user), -1)
    wide = 1e6
    found = np.searchsorted(orders["user"] * wide + orders["placed"], user * wide + day, side="right") - 1
    return np.where((found >= 0) & (orders["user"][np.maximum(found, 0)] == user), found, -1)


def open_orders(orders: Columns, user: np.ndarray, day: np.ndarray) -> np.ndarray:
    """(S,) how many orders of each user are neither delivered, cancelled nor lost by the day."""
    starts = np.searchsorted(orders["user"], user)
    ends = np.searchsorted(orders["user"], user, side="right")
    which, offsets = ranges(starts, ends)
    at = np.repeat(day, ends - starts)
    over = np.minimum(np.minimum(orders["delivered"][which], orders["cancelled"][which]), orders["lost"][which])
    running = np.concatenate([[0], np.cumsum((orders["placed"][which] <= at) & (over > at))])
    return (running[offsets[1:]] - running[offsets[:-1]]).astype(float)


INCIDENTS = np.array([TRACKING_EVENTS.index(name) if name != "lost" else TRACKING_EVENTS.index("in_hub")
                      for name in _INCIDENTS])  # fmt: skip
"""What the carrier says of each incident, as a place in ``TRACKING_EVENTS``."""
