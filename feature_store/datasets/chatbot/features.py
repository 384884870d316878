"""The 89 features of a simulated session."""

from __future__ import annotations

from feature_store.datasets.chatbot.dictionaries import DICTIONARIES, code
from feature_store.session_schema import BEHAVIOUR, CONTEXT, INTENTS, PROFILE, SessionFeature, SessionSchema


def _id(name: str, label: str, dictionary: str, dimension: str, *quiet: str) -> SessionFeature:
    ids = tuple(code(dictionary, word) for word in quiet)
    return SessionFeature(name, label, dimension, "id", dictionary, quiet=ids)


def _number(
    name: str, label: str, dimension: str, unit: str = "", log: bool = True, quiet: bool = False
) -> SessionFeature:
    return SessionFeature(name, label, dimension, "number", unit=unit, quiet=(0.0,) if quiet else (), log=log)


def _list(
    name: str, label: str, kind: str, group: str, length: int, dictionary: str = "", unit: str = "", told: bool = True
) -> SessionFeature:
    log = kind == "numbers"
    return SessionFeature(name, label, BEHAVIOUR, kind, dictionary, unit, (), group, length, log, told)


_PROFILE = (
    _id("gender", "User Gender", "gender", PROFILE, "Not given"),
    _id("age_band", "User Age", "age_band", PROFILE),
    _id("region", "Region", "region", PROFILE),
    _id("language", "Language", "language", PROFILE),
    _id("city_size", "Lives In", "city", PROFILE),
    _id("member_tier", "Member Level", "tier", PROFILE),
    _number("tenure_days", "Member For", PROFILE, "days"),
    _id("is_seller", "Has A Shop", "yes_no", PROFILE, "No"),
    _number("seller_sales_30d", "Own Sales In 30 Days", PROFILE, quiet=True),
    _number("seller_points", "Own Shop's Penalty Points", PROFILE, quiet=True),
    _id("device", "Device", "device", PROFILE),
    _id("app_version", "App Version", "app_version", PROFILE, "Current"),
    _id("account_state", "Account", "account_state", PROFILE, "Normal"),
    _id("identity_state", "Identity Check", "identity", PROFILE, "None", "Verified"),
    _id("email_verified", "Email Verified", "yes_no", PROFILE, "Yes"),
    _id("phone_verified", "Phone Verified", "yes_no", PROFILE, "Yes"),
    _id("two_factor", "Two-Step Login", "on_off", PROFILE),
    _id("default_payment", "Usual Payment", "payment", PROFILE),
    _id("has_paylater", "Has Pay Later", "yes_no", PROFILE, "No"),
    _id("wallet_active", "Wallet Active", "yes_no", PROFILE),
    _id("subscription", "Free-Shipping Plan", "subscription", PROFILE, "None"),
    _number("coins_balance", "Coins", PROFILE),
    _number("vouchers_available", "Vouchers", PROFILE),
    _number("vouchers_expiring", "Vouchers About To Expire", PROFILE, quiet=True),
    _number("addresses_saved", "Saved Addresses", PROFILE),
    _number("orders_90d", "Orders In 90 Days", PROFILE),
    _number("spend_90d", "Spent In 90 Days", PROFILE),
    _number("returns_90d", "Returns In 90 Days", PROFILE, quiet=True),
    _number("cancellations_90d", "Cancelled In 90 Days", PROFILE, quiet=True),
    _number("late_deliveries_90d", "Late Deliveries In 90 Days", PROFILE, quiet=True),
    _number("disputes_90d", "Disputes In 90 Days", PROFILE, quiet=True),
    _id("favourite_category", "Buys Most", "category", PROFILE),
    _id("live_watcher", "Watches Live", "how_often", PROFILE, "Never"),
    _id("game_player", "Plays Games In The App", "how_often", PROFILE, "Never"),
)
_ORDER = (
    _id("order_status", "Current Order Status", "order_status", CONTEXT),
    _number("status_days", "In This Status For", CONTEXT, "days"),
    _number("order_age_days", "Ordered", CONTEXT, "days ago"),
    _number("late_days", "Days After The Promised Day", CONTEXT, log=False),
    _number("order_value", "Order Value", CONTEXT),
    _number("order_items", "Pieces In The Order", CONTEXT),
    _id("order_category", "Ordered Category", "category", CONTEXT),
    SessionFeature("product_title", "Ordered Product", CONTEXT, "text"),
    _id("payment_method", "Order Paid By", "payment", CONTEXT),
    _id("payment_state", "Payment", "payment_state", CONTEXT, "Paid", "None"),
    _id("shipping_option", "Shipping Option", "shipping", CONTEXT),
    _id("carrier", "Courier", "carrier", CONTEXT),
    _id("cross_border", "Sent From Abroad", "yes_no", CONTEXT, "No"),
    SessionFeature("tracking_message", "Last Message Of The Courier", CONTEXT, "text"),
    _number("tracking_age_hours", "That Message Came", CONTEXT, "hours ago"),
    _number("delivery_attempts", "Failed Delivery Attempts", CONTEXT, quiet=True),
    _id("seller_type", "Seller", "seller_type", CONTEXT),
    _number("seller_rating", "Seller's Rating", CONTEXT, log=False),
    _number("seller_reply_hours", "Seller Answers Within", CONTEXT, "hours"),
    _id("voucher_used", "Voucher On The Order", "voucher", CONTEXT, "None"),
    _number("coins_used", "Coins On The Order", CONTEXT, quiet=True),
    _id("is_preorder", "Pre-Order", "yes_no", CONTEXT, "No"),
    _id("has_protection", "Product Protection", "yes_no", CONTEXT, "No"),
    _id("cancelled_by", "Cancelled By", "cancelled_by", CONTEXT, "Nobody"),
    _id("return_state", "Return", "return_state", CONTEXT, "None"),
    _number("return_days", "Return In This State For", CONTEXT, "days", quiet=True),
    _id("refund_state", "Refund", "refund_state", CONTEXT, "None"),
    _number("refund_days", "Refund In This State For", CONTEXT, "days", quiet=True),
    _number("refund_amount", "Refund Amount", CONTEXT, quiet=True),
    _id("review_state", "Review", "review_state", CONTEXT, "Not due"),
    _number("open_orders", "Open Orders", CONTEXT, quiet=True),
)
_VISIT = (
    _id("entry_point", "Entry Point", "entry_point", CONTEXT),
    _number("hour", "Hour Of The Day", CONTEXT, log=False),
    _id("weekday", "Weekday", "weekday", CONTEXT),
    _id("sale_day", "Sale Campaign", "sale_day", CONTEXT, "None"),
    _id("last_push", "Last Notification Opened", "push", CONTEXT, "None"),
    _number("failed_payments_24h", "Failed Payments In 24 Hours", CONTEXT, quiet=True),
    _number("login_failures_24h", "Failed Logins In 24 Hours", CONTEXT, quiet=True),
    _id("checkout_error", "Error At Checkout", "checkout_error", CONTEXT, "None"),
    _number("cart_items", "Items In The Cart", CONTEXT, quiet=True),
    _number("cart_value", "Value Of The Cart", CONTEXT, quiet=True),
    _id("from_live", "Came From A Live Stream", "yes_no", CONTEXT, "No"),
    _number("minutes_in_app", "Minutes In The App", CONTEXT),
)
_BEHAVIOUR = (
    _list("page_titles", "Recent Pages", "texts", "pages", 8),
    _list("page_types", "Kinds Of Recent Pages", "ids", "pages", 8, "page", told=False),
    _list("page_minutes", "Minutes Since Each Page", "numbers", "pages", 8, unit="minutes ago"),
    _list("clicked_intents", "Clicked Intents", "ids", "clicks", 8, INTENTS),
    _list("clicked_hours", "Hours Since Each Click", "numbers", "clicks", 8, unit="hours ago"),
    _list("dialogue_intents", "Earlier Dialogues", "ids", "dialogues", 6, INTENTS),
    _list("dialogue_days", "Days Since Each Dialogue", "numbers", "dialogues", 6, unit="days ago"),
    _list("dialogue_solved", "Outcome Of Each Dialogue", "ids", "dialogues", 6, "outcome"),
    SessionFeature("last_dialogue_text", "Said In The Last Dialogue", BEHAVIOUR, "text"),
    SessionFeature("last_search", "Typed Into The Help Search", BEHAVIOUR, "text"),
    _number("sessions_30d", "Chats In 30 Days", BEHAVIOUR, quiet=True),
    _number("unsolved_dialogues", "Unsolved Chats In 30 Days", BEHAVIOUR, quiet=True),
)

SCHEMA = SessionSchema((*_PROFILE, *_ORDER, *_VISIT, *_BEHAVIOUR), DICTIONARIES)
