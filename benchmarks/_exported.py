"""The version that the benchmarks of serving ask: `--model`, or the one that the demo exported."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

CHOSEN = Path("runs/demo/export/chosen.json")


def add(parser: argparse.ArgumentParser) -> None:
    told = f"a SavedModel version folder with warmup requests (the one that {CHOSEN} names)"
    parser.add_argument("--model", type=Path, help=told)


def version(model: Path | None) -> Path:
    """`model`, else the folder that `antiphon export` chose.

    Raises:
        ValueError: neither is there.
    """
    if model is not None:
        return model
    if not CHOSEN.is_file():
        raise ValueError(f"--model must be given where there is no {CHOSEN}, which `make demo` makes")
    return Path(json.loads(CHOSEN.read_text(encoding="utf-8"))["path"])
