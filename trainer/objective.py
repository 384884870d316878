"""What a recommender is trained on: the items its model asks for, against the catalogue or a sample of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from trainer import losses
from trainer.config import LossConfig
from trainer.layers.groups import by_length, grid, widths
from trainer.layers.tables import EmbeddingTable
from trainer.recommender import ATTRIBUTE, Recommender
from trainer.sampling import Popularity, first_met, of_batch, uniform, unseen
from trainer.step import Step


class Objective(Protocol):
    """What the loop minimises. All draws are functions of a seed, so that they are the same wherever a step runs."""

    def batch(self, *, seed: tf.Tensor, **rows: Any) -> Any:
        """What one step is computed from, a nest of tensors.

        Args:
          seed: (2,) of the step.
          rows: B of those that the task reads of its records, by name; of sequences ``history`` and ``targets`` (B, L)
            indices, right-aligned; at each position of ``targets`` the item that follows.
        """

    def touched(self, batches: Sequence[Any]) -> dict[EmbeddingTable, tf.Tensor | None]:
        """What the losses of some batches read of each table: ids with repeats, or None for all of it."""

    def loss(self, step: Step, batch: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean loss over what a batch asks for, and how many that is."""


class Batch(NamedTuple):
    """What one step is computed from."""

    inputs: tf.Tensor  # (B, L), see trainer.models.backbone.Window
    targets: tf.Tensor  # (B, L)
    negatives: tf.Tensor  # (B, L), (S,) or, where the loss has none, (0,)
    seed: tf.Tensor  # (2,), of dropout


class Reading(NamedTuple):
    """What a step has read for a batch."""

    rows: tf.Tensor  # (u, d), of the item table
    places: list[tf.Tensor]  # among them: of inputs, targets and, where the loss has them, negatives
    known: tf.Tensor | None  # (u, D), the items' knowledge
    attributes: tuple[tf.Tensor, tf.Tensor, tf.Tensor] | None


class Outputs(NamedTuple):
    """A model's outputs at T positions, and what is asked there."""

    vectors: tf.Tensor  # (u, d), the items'
    h: tf.Tensor  # (T, d)
    target: tf.Tensor  # (T,), 0 where nothing is asked
    hit: tf.Tensor  # (T,), the target's place among ``vectors``
    miss: tf.Tensor | None  # (T,), that of a negative of its own
    row: tf.Tensor  # (T,), in the batch
    column: tf.Tensor  # (T,), the position

    def at(self, where: tf.Tensor) -> Outputs:
        """Those of the positions that are true in ``where`` (T,)."""
        return Outputs(self.vectors, *(None if part is None else tf.boolean_mask(part, where) for part in self[1:]))

    def joined(self, other: Outputs) -> Outputs:
        """These positions and then those of ``other``."""
        pairs = zip(self[1:], other[1:], strict=True)
        return Outputs(self.vectors, *(None if pair[0] is None else tf.concat(pair, axis=0) for pair in pairs))


class Prediction:
    """The model's ``window`` and one of the losses over items. An ``Objective``."""

    def __init__(self, recommender: Recommender, config: LossConfig, popularity: Popularity) -> None:
        self._recommender, self._model = recommender, recommender.model
        self._config, self._popularity = config, popularity

    def batch(self, history: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> Batch:
        """See ``Objective``; draws the step's window and negatives."""
        dropout_seed, sample_seed = tf.unstack(tf.random.split(seed, 2))
        window = self._model.window(history, targets, tf.random.fold_in(seed, 2))
        count, items = self._config.negatives, self._recommender.size
        negatives = tf.zeros((0,), tf.int32)
        if self._config.kind == "sampled_softmax":
            negatives = self._popularity.draw(count, sample_seed)
        elif self._config.kind == "mixed":
            first, second = tf.unstack(tf.random.split(sample_seed, 2))
            negatives = tf.concat([of_batch(window.targets, count, first), uniform(count, items, second)], axis=0)
        elif self._config.kind == "bce":
            negatives = unseen(history, targets, items, sample_seed)
        return Batch(*window, negatives, dropout_seed)

    def touched(self, batches: Sequence[Batch]) -> dict[EmbeddingTable, tf.Tensor | None]:
        """See ``Objective``."""
        recommender, inputs = self._recommender, [tf.maximum(batch.inputs, 0) for batch in batches]
        ids = None
        if self._config.kind != "softmax":
            parts = [*inputs, *(part for batch in batches for part in (batch.targets, batch.negatives))]
            ids = _flat(parts)
        found = dict.fromkeys([recommender.items, *([recommender.knowledge] if recommender.knowledge else [])], ids)
        if self._model.reads_attributes:
            seen = tf.unique(_flat(inputs))[0]
            found |= recommender.features.touched({ATTRIBUTE: recommender.attributes_of(seen)})
        return found

    def loss(self, step: Step, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """See ``Objective``: mean over all positions that have a target, and their number T."""
        read = self.read(step, batch)
        with step.weights(self._recommender.dense):
            asked = self.outputs(read, batch)
        asked = asked.at(asked.target > 0)
        return self.mean(read, batch, asked), tf.size(asked.target)

    def read(self, step: Step, batch: Batch) -> Reading:
        """What the model computes a batch's outputs from."""
        recommender = self._recommender
        ids, targets, negatives = tf.maximum(batch.inputs, 0), batch.targets, batch.negatives
        if self._config.kind == "softmax":
            unique, rows, places = None, step.whole(recommender.items), [ids, targets]
        else:
            unique, rows, places = step.rows(recommender.items, ids, targets, negatives)
        attributes = _read_attributes(recommender, step, ids) if self._model.reads_attributes else None
        return Reading(rows, places, recommender.known(step, unique), attributes)

    def outputs(self, read: Reading, batch: Batch) -> Outputs:
        """The model's outputs at the T positions of a batch that are no padding."""
        vectors = self._model.items(read.rows, read.known)
        x = [(vectors, read.places[0])]
        if read.attributes is not None:
            held, there, own = read.attributes
            x.append((self._model.describe(held, there), own))
        body = encode(self._recommender, self._model, [part for part, _ in x], batch.seed)
        places = [place for place in read.places[1:] if place.shape.rank == 2]
        along = (batch.targets, *places, *grid(tf.shape(batch.inputs)))
        found = by_length(body, batch.inputs, *(place for _, place in x), *along)
        h, target, hit, *rest = found[0], *found[2 + len(x) :]
        miss = rest.pop(0) if len(places) > 1 else None
        return Outputs(vectors, h, target, hit, miss, *rest)

    def mean(self, read: Reading, batch: Batch, asked: Outputs, apart: tf.Tensor | None = None) -> tf.Tensor:
        """The loss over positions that have a target.

        Args:
          apart: (T,) bool, few positions, of which no negative is an item that was met by then; None is as the config
            says. `bce` has no other negatives; `in_batch` has no use for it.
        """
        kind, vectors, h, target = self._config.kind, asked.vectors, asked.h, asked.target
        hits = tf.gather(vectors, asked.hit)
        if kind == "softmax":
            if apart is None:
                return losses.softmax(h, vectors, target)
            common, own = asked.at(~apart), asked.at(apart)
            met = tf.gather(batch.inputs, own.row)
            met *= tf.cast(tf.range(tf.shape(met)[1]) <= own.column[:, None], met.dtype)
            alone = losses.unseen_softmax(own.h, vectors, own.target, met)
            total = losses.softmax(common.h, vectors, common.target) * tf.cast(tf.size(common.target), h.dtype)
            return (total + tf.reduce_sum(alone)) / tf.cast(tf.maximum(tf.size(target), 1), h.dtype)
        if kind in ("sampled_softmax", "mixed"):
            sampled, seen = tf.gather(vectors, read.places[2]), None
            if self._config.exclude_seen or apart is not None:
                first = first_met(batch.inputs, batch.negatives, self._recommender.size)
                seen = tf.gather(first, asked.row) <= asked.column[:, None]
                seen = seen if self._config.exclude_seen else seen & apart[:, None]
            return losses.sampled_softmax(h, hits, sampled, target, batch.negatives, self._log_q(), seen)
        if kind == "bce":
            return losses.binary(h, hits, tf.gather(vectors, asked.miss))
        return losses.in_batch(h, hits, target, tf.constant(self._popularity.probability))

    def _log_q(self) -> tf.Tensor:
        """Log of how often each item (N,) is expected among the negatives."""
        count = float(self._config.negatives)
        expected = tf.constant(self._popularity.probability) * count
        if self._config.kind == "mixed":
            expected += count / (self._recommender.size - 1)
        return tf.math.log(expected + 1e-30)


def encode(
    recommender: Recommender, model: Callable[..., tf.Tensor], vectors: Sequence[tf.Tensor], seed: tf.Tensor
) -> Callable[..., tf.Tensor]:
    """A body for ``by_length``: inputs and their places among each of ``vectors`` (·, d) -> the model's outputs.

    Args:
      model: (x, mask, seed) -> outputs; the recommender's, or a method of it.
    """
    seeds = tf.unstack(tf.random.split(seed, len(widths(recommender.config.max_length))))

    def body(group: int, ids: tf.Tensor, *places: tf.Tensor) -> tf.Tensor:
        x = tf.concat([tf.gather(part, place) for part, place in zip(vectors, places, strict=False)], axis=-1)
        return model(recommender.model.hide(x, ids), ids != 0, seeds[group])

    return body


def _read_attributes(
    recommender: Recommender, step: Step, ids: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Vectors (u, A, d) of the attributes of the u distinct items of ids (B, L), which of them there are (u, A), and
    each item's place among the u (B, L)."""
    unique, places = step.distinct(tf.reshape(ids, (-1,)))
    held = recommender.attributes_of(unique)
    return recommender.features.lookup(step, {ATTRIBUTE: held})[ATTRIBUTE], held >= 0, tf.reshape(places, tf.shape(ids))


def _flat(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(part, (-1,)) for part in parts], axis=0)
