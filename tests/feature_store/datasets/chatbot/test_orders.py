import numpy as np

from feature_store.datasets.chatbot.dictionaries import code
from feature_store.datasets.chatbot.order_state import order_state
from feature_store.datasets.chatbot.orders import latest, open_orders, orders
from feature_store.datasets.chatbot.users import users


def drawn(n=600):
    rng = np.random.default_rng(3)
    return orders(rng, users(rng, n), 0.0, 35.0)


def test_an_order_s_steps_follow_each_other():
    found = drawn()
    for earlier, later in (("placed", "packed"), ("packed", "shipped"), ("shipped", "out"), ("out", "delivered"),
                           ("delivered", "completed"), ("delivered", "asked"), ("asked", "received"),
                           ("received", "refunded")):  # fmt: skip
        both = np.isfinite(found[earlier]) & np.isfinite(found[later])
        assert both.any(), later
        assert (found[earlier][both] <= found[later][both]).all(), later


def test_a_cancelled_order_is_never_shipped_and_money_that_was_not_paid_is_not_paid_back():
    found = drawn()
    off = np.isfinite(found["cancelled"])
    assert 0.02 < off.mean() < 0.3
    assert np.isinf(found["shipped"][off]).all()
    assert (found["cancelled_by"][off] > 1).all() and (found["cancelled_by"][~off] == 1).all()
    unpaid = off & np.isinf(found["paid"])
    assert unpaid.any() and np.isinf(found["refund_from"][unpaid]).all()


def test_the_newest_order_of_a_user_and_how_many_are_open():
    given = {"user": np.array([0, 0, 2]), "placed": np.array([1.0, 5.0, 2.0]),
             "delivered": np.array([4.0, 9.0, np.inf]), "lost": np.full(3, np.inf),
             "cancelled": np.array([np.inf, np.inf, 3.0])}  # fmt: skip
    user, day = np.array([0, 0, 0, 1, 2, 2]), np.array([0.5, 4.5, 8.0, 8.0, 2.5, 8.0])
    assert latest(given, user, day).tolist() == [-1, 0, 1, -1, 2, 2]
    assert open_orders(given, user, day).tolist() == [0, 0, 1, 0, 1, 0]


def test_what_is_seen_of_an_order_is_its_last_step():
    found = {name: values[:1] for name, values in drawn().items()}
    times = {"placed": 0, "paid": 1, "packed": 2, "shipped": 3, "promised": 6, "out": 8, "delivered": 9,
             "completed": 15}  # fmt: skip
    found |= {name: np.array([float(day)]) for name, day in times.items()}
    found |= {name: np.array([np.inf]) for name in ("cancelled", "lost", "asked", "decided", "sent", "received",
                                                    "refund_from", "processing", "refunded", "reviewed")}  # fmt: skip
    found |= {"incident": np.array([0]), "refused": np.array([False])}
    days = np.array([0.5, 1.5, 2.5, 5.0, 7.5, 8.5, 11.0, 20.0, 3.0])
    which = np.array([0] * 8 + [-1])
    seen = order_state(found, which, days, np.random.default_rng(1))
    names = ("TO_PAY", "PAID", "PACKED", "SHIPPED", "DELAYED", "OUT_FOR_DELIVERY", "DELIVERED", "COMPLETED", "NONE")
    assert seen["order_status"].tolist() == [code("order_status", name) for name in names]
    assert seen["status_days"][:8].tolist() == [0, 0, 0, 2, 4, 0, 2, 5]
    assert seen["late_days"][:8].tolist() == [-6, -5, -4, -1, 1, 2, 3, 3]
    assert np.isnan(seen["status_days"][8]) and seen["order_category"][8] == 0
