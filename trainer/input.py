"""Training and evaluation examples as tensors of item indices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from feature_store import examples as example_files
from feature_store.errors import DataError
from trainer.cluster.work_queue import Shard
from trainer.vocabulary import Vocabulary


class Examples:
    """A folder written by ``feature_store.examples``.

    Raises:
      DataError: the folder has no manifest, or its files are not what the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = example_files.read_manifest(folder)
        self.vocabulary = Vocabulary.read(folder / self.manifest["vocabulary"]["item"]["file"])

    @property
    def items(self) -> Path:
        """The file of what is known of the items.

        Raises:
          DataError: the examples were written without it.
        """
        if "items" not in self.manifest:
            raise DataError("the examples hold no items; write them again", file=self.folder)
        return self.folder / self.manifest["items"]["file"]

    def shards(self, split: str) -> list[Shard]:
        """The split's files."""
        return Shard.listed(self.folder, self.manifest["splits"][split]["shards"])

    def piece(self, split: str, row: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Where one row of a split lies, in the order of its files: a piece, as ``read_records`` takes it."""
        for shard in self.shards(split):
            if row < shard.records:
                return tf.constant([shard.file]), tf.constant([row], tf.int64), tf.constant([1], tf.int64)
            row -= shard.records
        raise IndexError(f"{self.folder}: {split} has no such row")

    def count(self, split: str) -> int:
        """Number of examples in a split."""
        return self.manifest["splits"][split]["examples"]


PIECES = [
    tf.TensorSpec((None,), tf.string),
    tf.TensorSpec((None,), tf.int64),
    tf.TensorSpec((None,), tf.int64),
]
"""Files, first records and counts of some pieces, as ``WorkUnit.arguments`` begins."""


def read_records(
    files: tf.Tensor,
    firsts: tf.Tensor,
    counts: tf.Tensor,
    opened: Callable[[tf.Tensor], tf.data.Dataset] = tf.data.TFRecordDataset,
) -> tf.Tensor:
    """Records (n,) of the pieces files (P,), each from its first record on, in one op of the graph.

    Args:
      opened: a file's records.
    """
    pieces = tf.data.Dataset.from_tensor_slices((files, firsts, counts))
    records = pieces.flat_map(lambda file, first, count: opened(file).skip(first).take(count))
    return records.batch(tf.reduce_sum(counts)).get_single_element()


def right_align(ids: tf.RaggedTensor, width: int) -> tf.Tensor:
    """Ragged indices (n, ·) -> (n, width): the newest ``width`` known items at the right, 0 before them."""
    known = tf.ragged.boolean_mask(ids, ids > 0)
    newest_first = tf.reverse(known[:, -width:], axis=[1]).to_tensor(shape=(None, width))
    return tf.reverse(newest_first, axis=[1])


def training_windows(
    serialized: tf.Tensor, vocabulary: Vocabulary, length: int, held_back: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Serialized rows (n,) -> histories (n, L) and, at each position, the item that follows (n, L).

    Args:
      held_back: so many of a row's newest items are left out; a row with no more than these asks nothing.
    """
    parsed = tf.io.parse_example(
        serialized,
        {
            "history": tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
            "target": tf.io.FixedLenFeature((), tf.string),
        },
    )
    items = tf.concat([parsed["history"], parsed["target"][:, None]], axis=1)
    if held_back:
        items = items[:, :-held_back]
    window = right_align(items.with_flat_values(vocabulary.lookup(items.flat_values)), length + 1)
    return window[:, :-1], window[:, 1:]


class Held(NamedTuple):
    """Evaluation rows: histories (n, L), targets (n,), and the flat pairs (row, item) of what each user has seen.

    Arrays, or tensors inside a graph.
    """

    user: np.ndarray
    history: np.ndarray
    target: np.ndarray
    seen_row: np.ndarray
    seen_item: np.ndarray


def held_out(examples: Examples, split: str, length: int, batch: int) -> Iterator[Held]:
    """Yields the rows of ``valid`` or ``test``, ``batch`` at a time, in the order of the files."""
    parse = _held_out_parser(examples.vocabulary, length)
    files = [shard.file for shard in examples.shards(split)]
    for serialized in tf.data.TFRecordDataset(files).batch(batch):
        yield Held(*(tensor.numpy() for tensor in parse(serialized)))


def held_out_rows(serialized: tf.Tensor, vocabulary: Vocabulary, length: int) -> Held:
    """Serialized rows (n,) of ``valid`` or ``test`` -> tensors, in the graph."""
    parsed = tf.io.parse_example(
        serialized,
        {
            "user_id": tf.io.FixedLenFeature((), tf.string),
            "history": tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
            "seen": tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
            "target": tf.io.FixedLenFeature((), tf.string),
        },
    )
    history, seen = parsed["history"], parsed["seen"]
    return Held(
        parsed["user_id"],
        right_align(history.with_flat_values(vocabulary.lookup(history.flat_values)), length),
        vocabulary.lookup(parsed["target"]),
        seen.value_rowids(),
        vocabulary.lookup(seen.flat_values),
    )


@functools.lru_cache(maxsize=8)
def _held_out_parser(vocabulary: Vocabulary, length: int) -> tf.types.experimental.PolymorphicFunction:
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def parse(serialized: tf.Tensor) -> Held:
        return held_out_rows(serialized, vocabulary, length)

    return parse


def target_counts(examples: Examples, length: int, batch: int = 4096) -> np.ndarray:
    """How often each index is a target of the training split: (N,) int64, index 0 always 0."""
    vocabulary = examples.vocabulary

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def count(serialized: tf.Tensor) -> tf.Tensor:
        history, targets = training_windows(serialized, vocabulary, length)
        return tf.math.bincount(tf.boolean_mask(targets, history > 0), minlength=vocabulary.size)

    total = np.zeros(vocabulary.size, np.int64)
    for serialized in tf.data.TFRecordDataset([s.file for s in examples.shards("train")]).batch(batch):
        total += count(serialized).numpy()
    return total
