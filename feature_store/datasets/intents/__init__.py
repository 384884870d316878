"""Readers of knowledge bases: our own, public ones, and one's own file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from feature_store import intents
from feature_store.chat_config import IntentsConfig
from feature_store.datasets.intents import public, rows
from feature_store.row_checks import RawBatch

SERVICE = Path(__file__).with_name("service.jsonl")
"""Our own base, of an e-commerce service desk."""

READERS: dict[str, Callable[[IntentsConfig], Iterator[RawBatch]]] = {
    "service": lambda config: rows.read(SERVICE, {}),
    "bitext": public.bitext,
    "banking77": public.banking77,
    "clinc150": public.clinc150,
    "abcd": public.abcd,
    "file": lambda config: rows.read(Path(config.path), config.columns),
}


def run(config: IntentsConfig, out: Path) -> dict[str, Any]:
    """Reads, checks and writes a base of intents.

    Returns:
        its version, and counts of intents, categories and dead letters.
    Raises:
        DataError: a file is missing or cannot be read, a column is missing, or more rows than
            ``config.max_bad_share`` are bad.
    """
    found, letters = intents.checked(READERS[config.reader](config), config.examples)
    source = {"reader": config.reader, "path": config.path}
    manifest = intents.write(Path(out), found, letters, config.max_bad_share, source)
    told = {name: manifest[name] for name in ("version", "categories", "dead_letters")}
    return {"intents": manifest["intents"]["rows"], **told}
