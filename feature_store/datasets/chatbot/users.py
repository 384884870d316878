"""Who the users are: profiles, and how often they buy and ask."""

from __future__ import annotations

import numpy as np

from feature_store.datasets.chatbot.draws import chance, choose, yes
from feature_store.datasets.chatbot.regions import REGIONS

Columns = dict[str, np.ndarray]


def users(rng: np.random.Generator, n: int) -> Columns:
    """Profiles of n users, ids as in the dictionaries. ``order_rate`` (orders a day) is not a feature.

    Heavy buyers are members of a higher level, have more coins and more that goes wrong; a few per cent have a shop, an
    unverified number, a limited account. A fifth is new.
    """
    region = choose(rng, n, [region.share for region in REGIONS])
    own = np.array([region.language for region in REGIONS])[region - 1]
    rate = rng.gamma(1.5, 0.035, n)
    tenure = np.where(chance(rng, n, 0.2), rng.integers(1, 40, n), rng.integers(40, 2400, n)).astype(float)
    orders = rng.poisson(rate * np.minimum(tenure, 90))
    seller = chance(rng, n, 0.07)
    tier = np.clip(1 + (orders > 3) + (orders > 7) + (orders > 13) + chance(rng, n, 0.1), 1, 4)
    found: Columns = {
        "region": region,
        "gender": choose(rng, n, (0.38, 0.54, 0.08)),
        "age_band": choose(rng, n, (0.03, 0.24, 0.33, 0.2, 0.11, 0.06, 0.03)),
        "language": np.where(chance(rng, n, 1 / 6), 1, own),
        "city_size": choose(rng, n, (0.25, 0.35, 0.25, 0.15)),
        "member_tier": tier,
        "tenure_days": tenure,
        "is_seller": yes(seller),
        "seller_sales_30d": np.where(seller, rng.geometric(0.06, n) - 1, 0).astype(float),
        "seller_points": np.where(seller & chance(rng, n, 0.3), rng.integers(1, 7, n), 0).astype(float),
        "device": choose(rng, n, (0.58, 0.3, 0.07, 0.05)),
        "app_version": choose(rng, n, (0.75, 0.17, 0.08)),
        "account_state": 1 + chance(rng, n, 0.025).astype(np.int64),
        "identity_state": choose(rng, n, (0.5, 0.04, 0.43, 0.03)),
        "email_verified": yes(chance(rng, n, 0.8)),
        "phone_verified": yes(chance(rng, n, 0.93)),
        "two_factor": yes(chance(rng, n, 0.35)),
        "default_payment": choose(rng, n, np.array([region.payments for region in REGIONS])[region - 1]),
        "has_paylater": yes(chance(rng, n, 0.05 + 0.06 * tier)),
        "wallet_active": yes(chance(rng, n, 0.6)),
        "subscription": 1 + chance(rng, n, 0.02 + 0.02 * tier).astype(np.int64),
        "coins_balance": np.where(chance(rng, n, 0.15), 0, rng.gamma(1.2, 60 * tier)).round(),
        "vouchers_available": rng.poisson(2.2, n).astype(float),
        "addresses_saved": np.minimum(rng.poisson(1.3, n), orders + 1).astype(float),
        "orders_90d": orders.astype(float),
        "spend_90d": (orders * rng.lognormal(3.2, 0.6, n)).round(2),
        "returns_90d": rng.binomial(orders, 0.1).astype(float),
        "cancellations_90d": rng.binomial(orders, 0.08).astype(float),
        "late_deliveries_90d": rng.binomial(orders, 0.15).astype(float),
        "disputes_90d": rng.binomial(orders, 0.025).astype(float),
        "favourite_category": choose(rng, n, (5, 3, 2, 2, 3, 3, 1.5, 3, 2, 1.5, 1, 1.5)),
        "live_watcher": choose(rng, n, (0.6, 0.28, 0.12)),
        "game_player": choose(rng, n, (0.62, 0.24, 0.14)),
        "order_rate": rate,
    }
    expiring = rng.binomial(found["vouchers_available"].astype(int), 0.2)
    found["vouchers_expiring"] = expiring.astype(float)
    return found
