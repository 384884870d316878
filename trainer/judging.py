"""Which users stored knowledge failed, and what would have helped them: M and the gradients of CoCo's Eq. 8 and 9."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tqdm import tqdm

from feature_store import failures
from feature_store.examples import read_rows
from trainer.checkpoint import restore_for_use
from trainer.chief import build
from trainer.cluster.work_queue import in_order
from trainer.collaboration import Collaboration
from trainer.config import TrainConfig
from trainer.input import PIECES, Examples, read_records, training_windows
from trainer.layers.prompt_codebook import Selection
from trainer.models.coco import Knowledge
from trainer.objective import Prediction
from trainer.recommender import Recommender
from trainer.sampling import popularity
from trainer.step import Step
from trainer.stored import Stored


def run(
    examples: Path, knowledge: Path | None, checkpoint: Path, source: Path, out: Path, train: TrainConfig
) -> dict[str, Any]:
    """Writes ``out``, a log of failures (`feature_store.failures`), with the recommender of ``checkpoint``.

    Every training example is judged once, ``train.batch`` of them at a time in the order of the files, without dropout
    and without learning.

    Args:
      knowledge: as of ``trainer.train.run``. source: the knowledge to judge. train: with ``coco`` fitted.

    Returns:
      Examples judged and failed, users judged and failed, the share that was helped, the loss's parts, users per
      second, seconds.

    Raises:
      DataError: a folder is not whole. CheckpointError: the checkpoint does not fit.
    """
    started, data = time.monotonic(), Examples(examples)
    stored = Stored(str(source), data)
    train = replace(train, model=replace(train.model, dropout=0.0))
    recommender = build(train, data, knowledge)
    restore_for_use(checkpoint, recommender.tables, recommender.dense)
    # A model that draws what it is asked is not to draw the same in every round.
    seed = train.seed * 2**32 + int(checkpoint.name.removeprefix("ckpt-"))
    judge = _Judge(data, recommender, train, stored, seed)
    described: dict[str, Any] = {
        **{name: stored.manifest[name] for name in ("model_id", "adapter_version", "parts", "width", "events")},
        "checkpoint": checkpoint.name,
    }
    found = failures.write(out, judge.parts(described), described)
    seconds = time.monotonic() - started
    return {
        **{name: found[name] for name in ("judged_rows", "failed_rows", "judged_users", "failed_users", "batches")},
        "helped": 1 - found["failed_rows"] / max(found["judged_rows"], 1),
        **judge.means(),
        "users_per_second": round(found["judged_users"] / seconds, 2),
        "seconds": round(seconds, 2),
    }


class Watched:
    """Stored knowledge with a gradient, and with a gate that tells M. A `Source`."""

    def __init__(self, tape: tf.GradientTape) -> None:
        self._tape = tape

    def knowledge(
        self, step: Step, selection: Selection, history: tf.Tensor, stored: Knowledge, asked: None = None
    ) -> tuple[Knowledge, tf.Tensor]:
        """See `Source`."""
        self.h, self.gate = stored.h, tf.zeros(tf.shape(stored.h)[:1], stored.h.dtype)
        self._tape.watch([self.h, self.gate])
        return Knowledge(self.h, stored.mask), self.gate


class _Judge:
    def __init__(
        self, data: Examples, recommender: Recommender, train: TrainConfig, stored: Stored, seed: int
    ) -> None:
        self._data, self._batch, self._told = data, train.batch, {}
        prediction, length = Prediction(recommender, train.loss, popularity(data, train)), recommender.config.max_length

        @tf.function(input_signature=[*PIECES, tf.TensorSpec((), tf.int64)], autograph=False)
        def judged(files, firsts, counts, number):
            pieces = (files, firsts, counts)
            history, targets = training_windows(read_records(*pieces), data.vocabulary, length)
            with tf.GradientTape() as tape, Step(number, recommender.dense) as step:
                source = Watched(tape)
                objective = Collaboration(recommender, prediction, source)
                seeds = tf.stack([tf.constant(seed, tf.int64), number])
                batch = objective.batch(history, targets, seeds, stored.read(*pieces))
                loss, _ = objective.loss(step, batch)
            gradients, helped = tape.gradient(loss, [source.h, source.gate])
            return gradients, helped > 0, batch.window.targets[:, -1] > 0, step.told

        self._judged = judged

    def parts(self, described: dict[str, Any]) -> Iterator[pa.Table]:
        """Tables of the examples that were failed, one a batch; ``described`` is told how many were judged."""
        keys = read_rows(self._data.folder, "train", ["user_id", "label_time"])
        units, first, asked = in_order(self._data.shards("train"), self._batch), 0, []
        with tqdm(total=len(keys), desc="failures", unit="example", unit_scale=True) as bar:
            for number, unit in enumerate(units, 1):
                pieces = [tf.constant(part) for part in unit.arguments()[:3]]
                gradients, helped, there, told = self._judged(*pieces, tf.constant(number, tf.int64))
                places = first + np.flatnonzero(there.numpy())
                asked.append(places)
                lost = np.flatnonzero(~helped.numpy()) if len(places) else np.zeros(0, np.int64)
                rows = places[lost]
                chosen = keys.take(pa.array(rows))
                columns = (chosen["user_id"].to_pylist(), chosen["label_time"].to_numpy())
                for name, value in told.items():
                    self._told[name] = self._told.get(name, 0.0) + value.numpy().astype(np.float64)
                yield failures.table(*columns, number, rows, gradients.numpy()[lost])
                first += unit.records
                bar.update(unit.records)
        judged = np.concatenate(asked)
        users = keys["user_id"].take(pa.array(judged)).unique()
        described |= {"batches": len(units), "judged_rows": len(judged), "judged_users": len(users)}

    def means(self) -> dict[str, float]:
        """The mean of each part of the loss."""
        return {name: float(total / max(count, 1)) for name, (total, count) in self._told.items() if "/" in name}
