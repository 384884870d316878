"""The side process of `antiphon bench link`: `python -m benchmarks._link_side <config as JSON> <items> <folder>`."""

import json
import random
import sys
from pathlib import Path

from llm_offline.config import LlmConfig
from llm_offline.knowledge import link_server

WORDS = ("shea", "butter", "soap", "comb", "hair", "oil", "lavender", "travel", "nail", "lip", "balm", "organic", "set")


def main(config: str, items: str, folder: str) -> None:
    draw = random.Random(1)
    titles = [" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) for _ in range(int(items))]
    link_server.run(titles, Path(folder), LlmConfig(**json.loads(config)))


if __name__ == "__main__":
    main(*sys.argv[1:])
