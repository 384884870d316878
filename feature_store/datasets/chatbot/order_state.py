"""What is to be seen of an order at the time of a visit."""

from __future__ import annotations

import numpy as np

from feature_store.datasets.chatbot.dictionaries import TRACKING_EVENTS, code
from feature_store.datasets.chatbot.orders import INCIDENTS
from feature_store.datasets.chatbot.users import Columns

_CARRIED = ("order_category", "payment_method", "shipping_option", "carrier", "cross_border", "seller_type",
            "voucher_used", "is_preorder", "has_protection")  # fmt: skip
_FIGURES = ("order_value", "order_items", "seller_rating", "seller_reply_hours", "coins_used")


def order_state(orders: Columns, which: np.ndarray, day: np.ndarray, rng: np.random.Generator) -> Columns:
    """Columns of sessions (S,): ``which`` order each is about (-1: none) and the ``day`` it is looked at.

    Without an order, ids of states are those of "None", what describes an order is missing (0, or NaN of a number).
    ``tracking_event`` (a place in ``TRACKING_EVENTS``) and ``refund_share`` are for the rules alone.
    """
    none = which < 0
    at = np.maximum(which, 0)
    order = {name: values[at] if len(values) else np.zeros(len(at)) for name, values in orders.items()}
    found: Columns = {name: np.where(none, 0, order[name]).astype(np.int64) for name in _CARRIED}
    found |= {name: np.where(none, np.nan, order[name]) for name in _FIGURES}
    status, since = _status(order, day)
    found["order_status"] = np.where(none, code("order_status", "NONE"), status)
    found["status_days"] = _days(day - since, none)
    found["order_age_days"] = _days(day - order["placed"], none)
    found["late_days"] = _days(np.minimum(day, order["delivered"]) - order["promised"], none)
    found["cancelled_by"] = np.where(day >= order["cancelled"], order["cancelled_by"], 1).astype(np.int64)
    found["payment_state"] = np.where(none, 1, _payment(order, day))
    found |= _returns(order, day, none)
    found |= _tracking(order, day, none, status, rng)
    given = np.select([day >= order["reviewed"], day >= order["delivered"] + 0.5], [3, 2], 1)
    found["review_state"] = np.where(none, 1, given)
    for name in ("cancelled_by", "return_state", "refund_state"):
        found[name] = np.where(none, 1, found[name])
    return found


def _days(values: np.ndarray, none: np.ndarray) -> np.ndarray:
    return np.where(none, np.nan, np.floor(np.where(np.isfinite(values), values, 0)))


def _status(order: Columns, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids (S,) and since when. Of SHIPPED and DELAYED that is the day of shipping."""
    returned = (day >= order["asked"]) & ~((day >= order["decided"]) & order["refused"].astype(bool))
    steps = (
        ("CANCELLED", day >= order["cancelled"], order["cancelled"]),
        ("REFUNDED", day >= order["refunded"], order["refunded"]),
        ("RETURNED", day >= order["received"], order["received"]),
        ("RETURN_REQUESTED", returned, order["asked"]),
        ("LOST", day >= order["lost"], order["lost"]),
        ("COMPLETED", day >= order["completed"], order["completed"]),
        ("DELIVERED", day >= order["delivered"], order["delivered"]),
        ("OUT_FOR_DELIVERY", day >= order["out"], order["out"]),
        ("DELAYED", (day >= order["shipped"]) & (day > order["promised"]), order["shipped"]),
        ("SHIPPED", day >= order["shipped"], order["shipped"]),
        ("PACKED", day >= order["packed"], order["packed"]),
        ("PAID", day >= order["paid"], order["paid"]),
    )
    reached = [where for _, where, _ in steps]
    ids = np.select(reached, [code("order_status", name) for name, _, _ in steps], code("order_status", "TO_PAY"))
    return ids, np.select(reached, [since for _, _, since in steps], order["placed"])


def _payment(order: Columns, day: np.ndarray) -> np.ndarray:
    at_door = order["payment_method"] == code("payment", "Cash on delivery")
    unpaid = np.where(order["fails"].astype(bool), code("payment_state", "Failed"), code("payment_state", "Pending"))
    paid = np.where(at_door & (day < order["delivered"]), code("payment_state", "At the door"),
                    code("payment_state", "Paid"))  # fmt: skip
    return np.where(day >= order["paid"], paid, unpaid)


def _returns(order: Columns, day: np.ndarray, none: np.ndarray) -> Columns:
    refused = order["refused"].astype(bool)
    steps = [(day >= order["received"], "Received", order["received"]),
             (day >= order["sent"], "In transit", order["sent"]),
             ((day >= order["decided"]) & refused, "Rejected", order["decided"]),
             (day >= order["decided"], "Approved", order["decided"]),
             (day >= order["asked"], "Requested", order["asked"])]  # fmt: skip
    state = np.select([w for w, _, _ in steps], [code("return_state", name) for _, name, _ in steps], 1)
    since = np.select([w for w, _, _ in steps], [s for _, _, s in steps], day)
    refused = refused & (day >= order["decided"])
    money = [((day >= order["refund_from"]) & refused, "Rejected", order["decided"]),
             (day >= order["refunded"], "Paid", order["refunded"]),
             (day >= order["processing"], "Processing", order["processing"]),
             (day >= order["refund_from"], "Pending", order["refund_from"])]  # fmt: skip
    refund = np.select([w for w, _, _ in money], [code("refund_state", name) for _, name, _ in money], 1)
    from_when = np.select([w for w, _, _ in money], [s for _, _, s in money], day)
    paid = refund == code("refund_state", "Paid")
    return {
        "return_state": state, "return_days": np.where(state > 1, _days(day - since, none), 0.0),
        "refund_state": refund, "refund_days": np.where(refund > 1, _days(day - from_when, none), 0.0),
        "refund_amount": np.where(paid & ~none, (order["order_value"] * order["refund_share"]).round(2), 0.0),
        "refund_share": order["refund_share"],
    }  # fmt: skip


def _tracking(
    order: Columns, day: np.ndarray, none: np.ndarray, status: np.ndarray, rng: np.random.Generator
) -> Columns:
    """The event of the carrier's last message, how old it is, and attempts that failed. An incident shows from the
    middle of the road on; one that holds the parcel up keeps the message it began with."""
    n = len(day)
    moving = np.isin(status, [code("order_status", name) for name in ("SHIPPED", "DELAYED", "LOST")])
    arrived = np.isin(status, [code("order_status", name) for name in ("DELIVERED", "COMPLETED")])
    road = np.minimum(order["promised"], order["delivered"]) - order["shipped"]
    begins = order["shipped"] + 0.6 * np.maximum(road, 0.5)
    struck = moving & (INCIDENTS[order["incident"].astype(int)] > 0) & (day >= begins)
    pickup = moving & ~struck & (order["shipping_option"] == code("shipping", "Pickup point")) & (day >= begins)
    by_arrival = np.array([TRACKING_EVENTS.index(name) for name in ("delivered", "left_outside", "left_with_other")])
    event = np.select(
        [struck, pickup, moving, arrived, status == code("order_status", "OUT_FOR_DELIVERY"),
         status == code("order_status", "PACKED")],
        [INCIDENTS[order["incident"].astype(int)], TRACKING_EVENTS.index("at_pickup"), TRACKING_EVENTS.index("in_hub"),
         by_arrival[order["arrival"].astype(int)], TRACKING_EVENTS.index("out_for_delivery"),
         TRACKING_EVENTS.index("label_made")],
        0,
    )  # fmt: skip
    event = np.where(none, 0, event)
    usual = rng.exponential(14, n)
    age = np.select([struck | pickup, arrived], [24 * (day - begins), 24 * (day - order["delivered"])], usual)
    age = np.where(status == code("order_status", "PACKED"), 24 * (day - order["packed"]), age)
    tried = np.where(struck | arrived, order["attempts"], 0)
    return {
        "tracking_event": event,
        "tracking_age_hours": np.where(event > 0, np.floor(np.maximum(age, 0)), np.nan),
        "delivery_attempts": np.where(none, 0, tried).astype(float),
    }
