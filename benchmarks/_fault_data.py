"""Small training examples for fault tests: users who walk around a ring of items, in shards of uneven size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_store import folders
from feature_store.schema import Field
from feature_store.tfrecord import encode_examples, write_records

ITEMS, LENGTH = 40, 10
SHARDS = {"train": (700, 170, 30), "valid": (40,), "test": (40,)}
FIELDS = (Field("user_id"), Field("history", shape=(None,)), Field("target"))


def write(folder: Path, seed: int = 1) -> Path:
    """Writes ``folder/examples`` and returns it: what ``trainer.input.Examples`` reads."""
    random = np.random.default_rng(seed)
    with folders.new_folder(folder / "examples") as out:
        vocabulary = out / "vocabulary" / "item.txt"
        vocabulary.parent.mkdir()
        vocabulary.write_text("".join(json.dumps(_item(i)) + "\n" for i in range(ITEMS)))
        splits = {split: _split(out, split, sizes, random) for split, sizes in SHARDS.items()}
        described = {"size": ITEMS, **folders.describe(vocabulary, out)}
        manifest = {"kind": "examples", "splits": splits, "history_length": LENGTH, "split": "leave_one_out"}
        folders.write_manifest(out, {**manifest, "vocabulary": {"item": described}})
    return folder / "examples"


def _split(out: Path, split: str, sizes: tuple[int, ...], random: np.random.Generator) -> dict:
    (out / split).mkdir()
    shards, targets = [], 0
    fields = FIELDS if split == "train" else (*FIELDS, Field("seen", shape=(None,)))
    for number, size in enumerate(sizes):
        lengths = random.integers(2, LENGTH + 1, size)
        steps = random.choice([1, 1, 1, 2], (size, LENGTH + 1))
        walks = (random.integers(0, ITEMS, (size, 1)) + np.cumsum(steps, axis=1)) % ITEMS
        histories = [[_item(i) for i in walk[:n]] for walk, n in zip(walks, lengths, strict=True)]
        columns = {
            "user_id": [f"user-{split}-{number}-{row}" for row in range(size)],
            "history": histories,
            "target": [_item(walk[n]) for walk, n in zip(walks, lengths, strict=True)],
            "seen": [sorted(set(history)) for history in histories],
        }
        file = out / split / f"{number:05d}.tfrecord"
        write_records(file, encode_examples(pa.table(columns), fields))
        shards.append({"examples": size, **folders.describe(file, out)})
        targets += int(lengths.sum())
    return {"examples": sum(sizes), "targets": targets, "shards": shards}


def _item(index: int) -> str:
    return f"item-{index:03d}"
