"""How the eight regions and the weeks differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

FIRST_DAY = datetime(2026, 3, 2, tzinfo=UTC)
"""The first day that is written, a Monday. Days are counted from it; the warm-up's are below 0."""

SALES = (-17, 6, 19, 32)
"""Days of a sale campaign."""


@dataclass(frozen=True)
class Region:
    """``payments`` weighs the dictionary "payment"; ``tilt`` multiplies how often intents of a category are wanted."""

    name: str
    share: float  # of the users
    language: int  # id of the most common one; a sixth speaks English
    payments: tuple[float, ...]
    abroad: float  # share of orders from abroad
    transit: float  # days on the road, against the first region
    tilt: Mapping[str, float] = field(default_factory=dict)


#                                 card debit bank wallet COD later store boleto
REGIONS = (
    Region("SG", 0.08, 1, (5, 3, 1, 3, 0.2, 2, 0.1, 0), 0.35, 1.0, {"membership": 1.6, "sellers": 0.7}),
    Region("MY", 0.13, 2, (2, 3, 2, 3, 1.0, 1.5, 0.3, 0), 0.20, 1.4, {"vouchers": 1.3}),
    Region("TH", 0.14, 3, (1, 2, 3, 2, 3.0, 1.0, 0.5, 0), 0.15, 1.3, {"live": 1.8, "coins": 1.2}),
    Region("ID", 0.22, 4, (0.5, 1, 3, 3, 3.0, 1.5, 1.5, 0), 0.10, 2.0, {"shipping": 1.3, "wallet": 1.2}),
    Region("VN", 0.13, 5, (0.5, 1, 1.5, 1.5, 5.0, 0.5, 0.1, 0), 0.12, 1.6, {"delivery problems": 1.4, "returns": 1.2}),
    Region("PH", 0.13, 6, (0.5, 1, 1, 3, 5.0, 1.0, 0.5, 0), 0.15, 2.2, {"shipping": 1.4, "account": 1.2}),
    Region("TW", 0.07, 7, (4, 1, 1, 1, 1.0, 0.5, 4.0, 0), 0.25, 1.1, {"products": 1.3, "safety": 1.4}),
    Region("BR", 0.10, 8, (4, 2, 2, 0.5, 0.0, 0.5, 0.1, 3), 0.30, 2.6, {"payment": 1.4, "refunds": 1.3}),
)  # fmt: skip

WEEKS: tuple[Mapping[str, float], ...] = (
    {},
    {"vouchers": 1.3, "payment": 1.2},
    {"shipping": 1.3, "delivery problems": 1.2},
    {"vouchers": 1.2, "coins": 1.3, "technical": 1.3},
    {"returns": 1.25, "refunds": 1.25, "sellers": 1.2},
)
"""What each written week has more of, by category; after the last one they come again. The warm-up has none."""


def tilts(categories: np.ndarray, regions: np.ndarray, days: np.ndarray) -> np.ndarray:
    """(S, N) factors of intents of ``categories`` (N,) for sessions of ``regions`` (S,) ids on ``days`` (S,)."""
    of_region = np.array([[region.tilt.get(name, 1.0) for name in categories] for region in REGIONS])
    of_week = np.array([[week.get(name, 1.0) for name in categories] for week in ({}, *WEEKS)])
    weeks = np.where(days < 0, 0, (days // 7).astype(int) % len(WEEKS) + 1)
    return of_region[regions - 1] * of_week[weeks]


def sale_phase(days: np.ndarray) -> np.ndarray:
    """Ids of the dictionary "sale_day": the day before a campaign, its day, the two days after, or none."""
    whole = np.floor(days)
    phase = np.ones(len(days), np.int64)
    for day in SALES:
        phase[whole == day - 1] = 2
        phase[whole == day] = 3
        phase[(whole > day) & (whole <= day + 2)] = 4
    return phase
