"""S3-Rec's pre-training: four tasks that relate items, attributes, sequences and segments (Zhou et al., 2020, §4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from trainer import losses, masking
from trainer.config import PretrainConfig
from trainer.layers.groups import by_length, grid
from trainer.layers.tables import EmbeddingTable
from trainer.objective import encode
from trainer.recommender import Recommender
from trainer.sampling import unseen
from trainer.step import Step


class PretrainBatch(NamedTuple):
    """What one step is computed from."""

    inputs: tf.Tensor  # (4 B, L): sequences with hidden items, then ``masking.Segments`` of them
    answers: tf.Tensor  # (B, L), the hidden items; 0 elsewhere
    negatives: tf.Tensor  # (B, L), for each hidden item one that its sequence does not hold; 0 elsewhere
    size: tf.Tensor  # (B,), of the segments
    seed: tf.Tensor  # (2,), of dropout


class Pretraining:
    """The weighted sum of four losses, over the number of items. An ``Objective`` of an ``S3Rec`` model.

    With σ(x, y) = σ(xᵀ W y), W the task's own, e the vectors of items and attributes, F the bidirectional outputs:

    - AAP: which attributes an item has, from its own vector: binary cross-entropy of σ(e_i, e_a) over all (Eq. 5, 6);
    - MIP: which item is hidden: −log σ(F e_i − F e_j), j a negative (Eq. 7, with one negative);
    - MAP: which attributes the hidden item has, from F (Eq. 8);
    - SP: which segment is hidden: −log σ(F s − F s'), s and s' being the outputs of the segment and of another
      one at the last position (Eq. 9, with one negative).
    """

    def __init__(self, recommender: Recommender, config: PretrainConfig) -> None:
        self._recommender, self._model, self._config = recommender, recommender.model, config
        (self._attributes,) = recommender.features.tables

    def batch(self, history: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> PretrainBatch:
        """See ``Objective``. The sequences are the newest L items of history and target; the last is always hidden."""
        dropout_seed, sample_seed, mask_seed, segment_seed = tf.unstack(tf.random.split(seed, 4))
        where = masking.some(targets, self._recommender.config.mask_rate, mask_seed) | masking.last(targets)
        inputs, answers = masking.hidden(targets, where)
        negatives = tf.where(where, unseen(history, targets, self._recommender.size, sample_seed), 0)
        *segments, size = masking.segments(targets, segment_seed)
        return PretrainBatch(tf.concat([inputs, *segments], axis=0), answers, negatives, size, dropout_seed)

    def touched(self, batches: Sequence[PretrainBatch]) -> dict[EmbeddingTable, tf.Tensor | None]:
        """See ``Objective``. Every item of the segments is in a sequence, hidden or not."""
        parts = [part for batch in batches for part in (tf.maximum(batch.inputs, 0), batch.answers, batch.negatives)]
        ids = tf.concat([tf.reshape(part, (-1,)) for part in parts], axis=0)
        known = [self._recommender.knowledge] if self._recommender.knowledge else []
        return {**dict.fromkeys([self._recommender.items, *known], ids), self._attributes: None}

    def loss(self, step: Step, batch: PretrainBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """See ``Objective``: over the items of the sequences, and their number."""
        recommender, model, config = self._recommender, self._model, self._config
        inputs, answers, negatives, size, seed = batch
        users = tf.shape(answers)[0]
        ids = tf.maximum(inputs, 0)
        unique, rows, (place, hit, miss) = step.rows(recommender.items, ids, answers, negatives)
        attributes = step.whole(self._attributes)  # (M, d)
        with step.weights(recommender.dense):
            vectors = model.items(rows, recommender.known(step, unique))
            shape = tf.shape(inputs)
            row, column = grid(shape)
            body = encode(recommender, model.context, [vectors], seed)
            h, _, _, row, column = by_length(body, inputs, place, row, column)
            hidden = tf.boolean_mask(tf.stack([row, column], axis=1), row < users)
            answer = tf.gather_nd(answers, hidden)
            f = tf.boolean_mask(tf.boolean_mask(h, row < users), answer > 0)  # (H, d)
            at = tf.boolean_mask(hidden, answer > 0)
            hits, misses = (tf.gather(vectors, tf.gather_nd(places, at)) for places in (hit, miss))
            seen = tf.boolean_mask(ids[:users], inputs[:users] > 0)
            own = tf.gather(vectors, tf.boolean_mask(place[:users], inputs[:users] > 0))
            aap = losses.multi_label(
                tf.matmul(model.aap(own), attributes, transpose_b=True), recommender.attributes_of(seen)
            )
            mip = losses.pairwise(model.mip(f), hits, misses)
            labels = recommender.attributes_of(tf.gather_nd(answers, at))
            map_ = losses.multi_label(tf.matmul(model.map(f), attributes, transpose_b=True), labels)
            newest = column == shape[1] - 1
            last = tf.scatter_nd(
                tf.boolean_mask(row, newest)[:, None], tf.boolean_mask(h, newest), (shape[0], recommender.config.d)
            )
            _, context, segment, other = tf.split(last, 4)
            sp = tf.boolean_mask(losses.pairwise(model.sp(context), segment, other), size > 0)
        parts = ((config.aap, aap), (config.mip, mip), (config.map, map_), (config.sp, sp))
        count = tf.math.count_nonzero(inputs[:users], dtype=tf.int32)
        total = tf.add_n([weight * tf.reduce_sum(each) for weight, each in parts])
        return total / tf.cast(tf.maximum(count, 1), total.dtype), count
