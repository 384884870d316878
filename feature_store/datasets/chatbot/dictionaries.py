"""What the ids of the simulated sessions mean."""

from __future__ import annotations

_WORDS = {
    "region": ("SG", "MY", "TH", "ID", "VN", "PH", "TW", "BR"),
    "gender": ("Male", "Female", "Not given"),
    "age_band": ("Under 18", "18-24", "25-34", "35-44", "45-54", "55-64", "65 and over"),
    "language": ("English", "Malay", "Thai", "Indonesian", "Vietnamese", "Filipino", "Chinese", "Portuguese"),
    "tier": ("Classic", "Silver", "Gold", "Platinum"),
    "city": ("Capital", "Large city", "Town", "Countryside"),
    "device": ("Android app", "iOS app", "Mobile web", "Desktop"),
    "app_version": ("Current", "One behind", "Old"),
    "yes_no": ("No", "Yes"),
    "on_off": ("Off", "On"),
    "outcome": ("not solved", "solved"),
    "payment": ("Credit card", "Debit card", "Bank transfer", "Wallet", "Cash on delivery", "Pay later",
                "Convenience store", "Boleto"),
    "category": ("Fashion", "Shoes & Bags", "Electronics", "Phones", "Beauty", "Home", "Appliances", "Groceries",
                 "Baby", "Toys", "Pets", "Sports"),
    "account_state": ("Normal", "Limited"),
    "identity": ("None", "Pending", "Verified", "Rejected"),
    "subscription": ("None", "Active"),
    "how_often": ("Never", "Sometimes", "Often"),
    "order_status": ("NONE", "TO_PAY", "PAID", "PACKED", "SHIPPED", "DELAYED", "OUT_FOR_DELIVERY", "DELIVERED",
                     "COMPLETED", "CANCELLED", "RETURN_REQUESTED", "RETURNED", "REFUNDED", "LOST"),
    "payment_state": ("None", "Pending", "Failed", "Paid", "At the door"),
    "shipping": ("Standard", "Express", "Economy", "Pickup point", "Instant"),
    "carrier": ("Own fleet", "National post", "Swift", "BlueVan", "Kite", "Parrot", "Crossway", "Local rider"),
    "seller_type": ("Mall", "Preferred shop", "Local shop", "Overseas shop"),
    "voucher": ("None", "Platform", "Shop", "Free shipping"),
    "cancelled_by": ("Nobody", "Buyer", "Seller", "System"),
    "return_state": ("None", "Requested", "Approved", "In transit", "Received", "Rejected"),
    "refund_state": ("None", "Pending", "Processing", "Paid", "Rejected"),
    "review_state": ("Not due", "Due", "Given"),
    "entry_point": ("Home Page", "Order Page", "Shipping Page", "Payment Page", "Cart Page", "Refund Page",
                    "Voucher Wallet", "Coins Page", "Account Settings", "Wallet Page", "Product Page", "Shop Page",
                    "Live Room", "Help Centre", "Seller Centre", "Notifications"),
    "sale_day": ("None", "Eve", "Sale", "After"),
    "push": ("None", "Order update", "Promotion", "Payment", "Security", "Bill due"),
    "checkout_error": ("None", "Card declined", "Voucher not applied", "Address not covered", "Item out of stock",
                       "Purchase limit", "Unknown error"),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "page": ("Home", "Search", "Product", "Shop", "Cart", "Checkout", "Orders", "Order details", "Tracking",
             "Return form", "Vouchers", "Coins and games", "Wallet", "Account", "Live", "Seller desk", "Help article",
             "Chat with a shop"),
}  # fmt: skip

DICTIONARIES = {name: dict(enumerate(words, 1)) for name, words in _WORDS.items()}
"""Ids to words, by dictionary."""

TRACKING_EVENTS = ("none", "label_made", "in_hub", "customs", "address_problem", "could_not_reach", "nobody_home",
                   "at_pickup", "damaged_in_transit", "out_for_delivery", "delivered", "left_outside",
                   "left_with_other")  # fmt: skip
"""What a carrier's last message is about. Sessions hold the message alone; the rules know the event."""


def code(dictionary: str, word: str) -> int:
    """The id of a word."""
    return _WORDS[dictionary].index(word) + 1
