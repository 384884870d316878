"""What the market sells, and to whom: the words that its texts are made of."""

from __future__ import annotations

from typing import NamedTuple

TREE = {
    "Baby": ("diapers", "strollers", "baby bottles", "baby clothes", "teething toys", "car seats"),
    "Toys": ("building blocks", "dolls", "puzzles", "board games", "model trains", "plush animals"),
    "Fashion": ("dresses", "blouses", "handbags", "high heels", "scarves", "jewellery"),
    "Menswear": ("shirts", "suits", "leather belts", "men's shoes", "jackets", "watches"),
    "Beauty": ("lipstick", "face cream", "perfume", "shampoo", "nail polish", "sunscreen"),
    "Electronics": ("headphones", "smartphones", "tablets", "chargers", "cameras", "smart speakers"),
    "Gaming": ("game consoles", "gaming mice", "mechanical keyboards", "controllers", "graphics cards", "game figures"),
    "Sports": ("running shoes", "yoga mats", "dumbbells", "bicycles", "football boots", "swimwear"),
    "Outdoor": ("tents", "hiking boots", "fishing rods", "backpacks", "camping stoves", "binoculars"),
    "Kitchen": ("frying pans", "coffee makers", "kitchen knives", "rice cookers", "baking tins", "tea sets"),
    "Home": ("bed linen", "curtains", "floor lamps", "carpets", "storage boxes", "sofas"),
    "Garden": ("flower seeds", "garden tools", "lawn mowers", "flower pots", "fertiliser", "garden furniture"),
    "Books": ("novels", "cookbooks", "textbooks", "children's books", "travel guides", "comics"),
    "Health": ("vitamins", "blood pressure monitors", "massage chairs", "herbal tea", "canes", "first aid kits"),
    "Pets": ("dog food", "cat litter", "aquariums", "dog leads", "cat trees", "bird cages"),
    "Office": ("notebooks", "fountain pens", "desk lamps", "office chairs", "printers", "school bags"),
}  # fmt: skip

QUALITIES = ("classic", "light", "compact", "soft", "durable", "modern", "premium", "everyday", "handmade", "large")
SYLLABLES = ("ba", "ri", "mo", "ka", "lu", "ne", "vo", "ti", "sa", "do", "wen", "lar", "mi", "zu", "pel", "tor")


class Segment(NamedTuple):
    """People with much in common. ``price`` is what they like to pay: 0 is the middle of a category."""

    gender: str
    age: int
    household: str
    occupation: str
    city: str
    price: float
    likes: tuple[str, ...]


SEGMENTS = (
    Segment("female", 30, "young children", "homemaker", "large city", 0.0, ("Baby", "Toys", "Home")),
    Segment("male", 33, "young children", "engineer", "large city", 0.6, ("Baby", "Electronics", "Toys")),
    Segment("female", 20, "single", "student", "large city", -0.9, ("Beauty", "Fashion", "Books")),
    Segment("male", 20, "single", "student", "small town", -0.9, ("Gaming", "Electronics", "Sports")),
    Segment("female", 27, "single", "office worker", "capital", 0.9, ("Fashion", "Beauty", "Health")),
    Segment("male", 29, "single", "office worker", "capital", 0.8, ("Menswear", "Electronics", "Sports")),
    Segment("male", 38, "couple", "driver", "small town", -0.5, ("Outdoor", "Menswear", "Pets")),
    Segment("female", 45, "school children", "teacher", "small town", -0.2, ("Office", "Books", "Kitchen")),
    Segment("male", 47, "school children", "manager", "capital", 1.2, ("Menswear", "Office", "Outdoor")),
    Segment("female", 52, "couple", "shop owner", "village", -0.4, ("Kitchen", "Garden", "Home")),
    Segment("male", 66, "couple", "retired", "village", -0.3, ("Garden", "Health", "Outdoor")),
    Segment("female", 68, "single", "retired", "small town", -0.6, ("Health", "Kitchen", "Pets")),
    Segment("female", 35, "couple", "nurse", "large city", 0.2, ("Sports", "Health", "Pets")),
    Segment("male", 25, "couple", "factory worker", "village", -0.8, ("Gaming", "Sports", "Menswear")),
    Segment("female", 40, "school children", "manager", "capital", 1.1, ("Home", "Fashion", "Toys")),
    Segment("male", 55, "couple", "farmer", "village", -0.7, ("Garden", "Pets", "Books")),
)
