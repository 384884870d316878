"""The prompts that a recommender gives each example, written for a language model that is asked later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tqdm import tqdm

from feature_store import failures, selected_prompts
from feature_store.examples import read_rows
from feature_store.splits import SPLITS
from trainer.checkpoint import restore_for_use
from trainer.chief import build
from trainer.config import TrainConfig
from trainer.input import Examples, held_out_rows, training_windows
from trainer.layers.prompt_codebook import Selection
from trainer.recommender import Recommender

_ROWS = 1024


def run(
    examples: Path,
    knowledge: Path | None,
    checkpoint: Path | None,
    out: Path,
    train: TrainConfig,
    number: int,
    previous: Path | None = None,
    log: Path | None = None,
) -> dict[str, Any]:
    """Writes ``out``, a folder of selected prompts (`feature_store.selected_prompts`): a row for every example.

    Those of the users in ``log`` are selected anew, or without one those of all; the others are those of ``previous``.
    An example's history is the one that the side process is asked with over the link: it ends before its last target.

    Args:
      knowledge: as of ``trainer.train.run``. checkpoint: to select by; None is the recommender before any training.
      train: with ``coco`` fitted (``trainer.chief.fitted``). number: of the round.

    Returns:
      Examples and users, in all and selected anew, prompts selected on average, users per second, seconds.

    Raises:
      DataError: a folder is not whole.
      CheckpointError: the checkpoint does not fit.
    """
    started, data = time.monotonic(), Examples(examples)
    recommender = build(train, data, knowledge)
    if checkpoint is not None:
        restore_for_use(checkpoint, recommender.tables, recommender.dense)
    users = None if log is None else pa.array(sorted(failures.users(log)), pa.string())
    parts = recommender.coco.config.selected * recommender.coco.config.selects
    rows = _Rows(data, recommender, users)
    codes, shared = recommender.coco.codebook.book()  # the recommender has its weights now
    described = {"parts": len(shared) + parts, "events": data.manifest["events"]}
    described["checkpoint"] = checkpoint.name if checkpoint else ""
    found = selected_prompts.write(out, rows, codes, shared, number, described, previous)
    seconds = time.monotonic() - started
    return {
        **{name: found[name] for name in ("rows", "users", "fresh_rows", "fresh_users", "parts")},
        "selected": rows.codes / max(found["fresh_rows"], 1),
        "users_per_second": round(found["fresh_users"] / seconds, 2),
        "seconds": round(seconds, 2),
    }


class _Rows:
    """Tables of `selected_prompts.SCHEMA`. ``codes`` counts those selected."""

    def __init__(self, data: Examples, recommender: Recommender, users: pa.Array | None) -> None:
        self._data, self._length, self._users = data, recommender.config.max_length, users
        self.codes = 0
        vectors = tf.constant(recommender.pull())

        @tf.function(input_signature=[tf.TensorSpec((None, self._length), tf.int32)], autograph=False)
        def select(history: tf.Tensor) -> Selection:
            return recommender.selection(history, vectors)

        self._select = select

    def __iter__(self) -> Iterator[pa.Table]:
        total = sum(self._data.count(split) for split in SPLITS)
        with tqdm(total=total, desc="prompts", unit="example", unit_scale=True) as bar:
            for split in SPLITS:
                histories = self._histories(split)
                for number, shard in enumerate(self._data.shards(split)):
                    keys = read_rows(self._data.folder, split, ["user_id", "label_time"], number)
                    first = 0
                    for serialized in tf.data.TFRecordDataset(shard.file).batch(_ROWS):
                        history = histories(serialized).numpy()
                        yield from self._tables(split, keys.slice(first, len(history)), history)
                        first += len(history)
                        bar.update(len(history))

    def _histories(self, split: str) -> tf.types.experimental.PolymorphicFunction:
        """Serialized examples (n,) of a split -> their histories (n, L)."""
        vocabulary, length = self._data.vocabulary, self._length

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
        def parse(serialized: tf.Tensor) -> tf.Tensor:
            if split == "train":
                return training_windows(serialized, vocabulary, length)[0]
            return held_out_rows(serialized, vocabulary, length).history

        return parse

    def _tables(self, split: str, keys: pa.Table, history: np.ndarray) -> Iterator[pa.Table]:
        if self._users is not None:
            chosen = pc.is_in(keys["user_id"], value_set=self._users)
            keys, history = keys.filter(chosen), history[chosen.to_numpy()]
        if not len(keys):
            return
        found = self._select(history)
        index, weights = found.index.numpy(), found.weights.numpy()
        there = found.mask.numpy()[:, found.mask.shape[1] - index.shape[1] :]
        self.codes += int(there.sum())
        yield pa.table(
            {
                "user_id": keys["user_id"],
                "split": pa.repeat(split, len(keys)),
                "label_time": keys["label_time"],
                "history": _lists(history, history > 0),
                "codes": _lists(index, there),
                "weights": _lists(weights, there),
            },
            selected_prompts.SCHEMA,
        )


def _lists(values: np.ndarray, there: np.ndarray) -> pa.ListArray:
    """Of each row of values (n, m) those that are there."""
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values[there]))
