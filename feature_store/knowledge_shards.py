"""Users' stored knowledge as shards beside those of the examples: file for file, record for record.

A file is an array (n, m, D + 1), float32 in little-endian order, and nothing else: of each of an example's m vectors
its D values, zeros where there is none, and then 1, or 0 where there is none. Whoever reads some records of a shard of
examples reads the records of the same numbers here, so that a row needs no other key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from feature_store import folders, user_knowledge
from feature_store.errors import DataError
from feature_store.examples import read_manifest as read_examples
from feature_store.splits import SPLITS

KIND = "knowledge_shards"
FOLDER = "shards"
"""Within a source's folder."""
SUFFIX = ".f32"
"""In the place of the examples' ``.tfrecord``."""


class Statistics(NamedTuple):
    """Of the training split's vectors.

    Attributes:
        mean: (D,). deviation: the root mean square of what they differ from it by, over all D.
    """

    mean: np.ndarray
    deviation: float


def write(users: Path, examples: Path, out: Path) -> dict[str, Any]:
    """Writes the shards of a folder of user knowledge whole, and returns their manifest.

    Raises:
        DataError: as `user_knowledge.of_shards`.
    """
    users, examples = Path(users), Path(examples)
    made, source = read_examples(examples), user_knowledge.read_folder(users)
    total, squares, count = np.zeros(source["width"]), np.zeros(source["width"]), 0
    splits: dict[str, list[dict[str, Any]]] = {}
    rows = sum(made["splits"][split]["examples"] for split in SPLITS)
    with folders.new_folder(Path(out)) as folder, tqdm(total=rows, desc="knowledge shards", delay=2) as bar:
        for split in SPLITS:
            splits[split] = []
            found = user_knowledge.of_shards(users, examples, split)
            for known, shard in zip(found, made["splits"][split]["shards"], strict=True):
                path = (folder / shard["file"]).with_suffix(SUFFIX)
                path.parent.mkdir(exist_ok=True)
                there = known.mask[..., None].astype("<f4")
                np.concatenate([known.vectors.astype("<f4"), there], axis=-1).tofile(path)
                splits[split].append({"of": shard["sha256"], **folders.describe(path, folder)})
                if split == "train":
                    vectors = known.vectors[known.mask].astype(np.float64)
                    total, squares = total + vectors.sum(0), squares + np.square(vectors).sum(0)
                    count += len(vectors)
                bar.update(len(known.mask))
        mean = total / max(count, 1)
        deviation = float(np.sqrt(np.mean(np.maximum(squares / max(count, 1) - mean**2, 0))))
        manifest = {"kind": KIND, "splits": splits, "mean": mean.tolist(), "deviation": deviation}
        manifest |= {name: source[name] for name in ("model_id", "adapter_version", "parts", "width", "events")}
        folders.write_manifest(folder, manifest)
    return manifest


def read_manifest(folder: Path, examples: Path | None = None) -> dict[str, Any]:
    """The manifest of a folder of knowledge shards; every shard is there and has its size.

    Args:
        examples: whose shards they must stand beside; None takes any.
    Raises:
        DataError: there is no such folder, it is not whole or of another kind, or it was made for other examples.
    """
    manifest = folders.read_manifest_of(KIND, Path(folder), "knowledge shards", hashes=False)
    if examples is None:
        return manifest
    for split, part in read_examples(examples)["splits"].items():
        if [shard["of"] for shard in manifest["splits"][split]] != [shard["sha256"] for shard in part["shards"]]:
            raise DataError(f"was made for other examples than those of {examples}; make it again", file=folder)
    return manifest


def statistics(manifest: dict[str, Any]) -> Statistics:
    """What a folder's manifest says of its vectors."""
    return Statistics(np.array(manifest["mean"], np.float32), manifest["deviation"])
