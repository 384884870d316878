"""Writes the example shop: 60 customers, 40 products, and what they viewed and bought in ten weeks of 2026.

    python configs/example_tables/make_tables.py

Customers have one or two interests, and within an interest mostly go on to the next product of its shelf, so
that there is something to learn. The same three files come out every time.
"""

from __future__ import annotations

import csv
import random
from datetime import datetime, timedelta
from pathlib import Path

SHELVES = {
    "garden": [
        "Seed tray, 24 cells", "Peat-free compost, 20 l", "Tomato seeds", "Basil seeds",
        "Terracotta pot, 15 cm", "Watering can, 5 l", "Bamboo canes, pack of 10", "Hand trowel",
    ],
    "kitchen": [
        "Cast-iron pan, 26 cm", "Wooden spatula", "Chef's knife, 20 cm", "Sharpening stone",
        "Chopping board, oak", "Salt mill", "Olive oil, 500 ml", "Apron, linen",
    ],
    "cycling": [
        "Puncture kit", "Inner tube, 28 inch", "Tyre levers", "Mini pump", "Chain oil, 100 ml",
        "Rear light, USB", "Front light, USB", "Rain cape",
    ],
    "reading": [
        "Notebook, dotted A5", "Fountain pen, medium", "Ink, blue-black", "Reading lamp, clip-on",
        "Bookmarks, set of 5", "Book stand, beech", "Page-a-day diary", "Letter paper, 50 sheets",
    ],
    "music": [
        "Ukulele, soprano", "Ukulele strings", "Clip-on tuner", "Songbook for beginners",
        "Music stand, folding", "Felt picks, 3", "Padded ukulele bag", "Metronome, mechanical",
    ],
}  # fmt: skip
CITIES = ["Aarhus", "Gent", "Graz", "Leeds", "Porto", "Turku"]


def main() -> None:
    draw = random.Random(2026)
    folder = Path(__file__).parent
    shelf_codes = {shelf: [f"{shelf[:2].upper()}-{n:02d}" for n in range(1, 9)] for shelf in SHELVES}
    products = [
        {"sku": code, "name": name, "shelf": shelf, "price": f"{draw.uniform(2, 60):.2f}"}
        for shelf, names in SHELVES.items()
        for code, name in zip(shelf_codes[shelf], names, strict=True)
    ]
    customers = [
        {"customer": f"c{n:03d}", "city": draw.choice(CITIES), "born": draw.randint(1950, 2006)}
        for n in range(1, 61)
    ]
    orders = []
    for customer in customers:
        interests = draw.sample(sorted(SHELVES), draw.choice([1, 2, 2]))
        place = {shelf: draw.randrange(4) for shelf in interests}
        time = datetime(2026, 3, 2, 8) + timedelta(minutes=draw.randrange(20_000))
        for _ in range(draw.randint(6, 14)):
            shelf = draw.choice(interests)
            step = 1 if draw.random() < 0.8 else draw.randrange(2, 8)
            place[shelf] = (place[shelf] + step) % 8
            kind = "bought" if draw.random() < 0.6 else "viewed"
            orders.append({
                "customer": customer["customer"], "sku": shelf_codes[shelf][place[shelf]],
                "at": f"{time:%Y-%m-%dT%H:%M:%SZ}", "kind": kind, "pieces": draw.randint(1, 3),
            })  # fmt: skip
            time += timedelta(minutes=draw.randrange(30, 9_000))
    for name, rows in {"customers": customers, "products": products, "orders": orders}.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
