"""What every model of labelled requests is: from vectors of a request's parts to one logit a candidate."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

import tensorflow as tf
import tf_keras

from trainer.layers.request_embeddings import Embedded, RequestEmbeddings
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests, Rows


class Outputs(NamedTuple):
    """Of n requests with C candidates."""

    logits: tf.Tensor  # (n, C)
    told: dict[str, tf.Tensor]  # what else serving answers and evaluation keeps, (n, C) each, such as a gate
    parts: dict[str, tf.Tensor]  # what the model's own loss is computed from


class RequestModel(tf_keras.Model):
    """Base of the models.

    A subclass says which features it reads (``reads``), makes its layers in ``make``, and computes in ``call``. Its
    loss, unless it has its own, is binary cross-entropy over the candidates that are there.

    Args:
      config: of the training. data: whose features and sizes it is made for.
    """

    Embeddings = RequestEmbeddings

    def __init__(self, config: RequestTrainConfig, data: Requests) -> None:
        super().__init__(name=config.model.kind)
        self.config = config
        self.embeddings = self.Embeddings(data, config.model.d, self.reads(config, data))
        self.make(data)
        self.built = True

    @staticmethod
    def reads(config: RequestTrainConfig, data: Requests) -> list[str]:
        """Names of the features of requests that the model looks at."""
        names = [feature.name for feature in data.raw]
        return [name for name in names if not any(fnmatchcase(name, one) for one in config.model.exclude)]

    def make(self, data: Requests) -> None:
        """Makes the layers and builds them."""
        raise NotImplementedError  # abstract

    def prepared(self, rows: Rows) -> Rows:
        """What the model looks up of requests, such as with what is missing filled in."""
        return rows

    def call(self, parts: Embedded, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """The logits; dropout where a seed (2,) is given."""
        raise NotImplementedError  # abstract

    def activity(self, parts: Embedded) -> tf.Tensor:
        """What tells how much a user buys: log(1 + |S_u^buy|) of the sequence, and ``choir.activity``: (n, ·)."""
        choir = self.config.choir
        purchases = tf.reduce_sum(tf.cast(parts.there[choir.sequence], tf.float32), axis=1, keepdims=True)
        return tf.concat([tf.math.log1p(purchases), *(parts.single[name] for name in choir.activity)], axis=1)

    def loss_of(self, outputs: Outputs, rows: Rows) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """The mean loss, what it is a mean over, and by name values (·,) of which the history gets the mean."""
        return (*cross_entropy(outputs.logits, rows), {})


def cross_entropy(logits: tf.Tensor, rows: Rows) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean binary cross-entropy of logits (n, C) over the candidates that are there, and their number."""
    logits, labels = tf.boolean_mask(logits, rows.present), tf.boolean_mask(rows.labels, rows.present)
    count = tf.size(labels)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    return tf.reduce_sum(losses) / tf.cast(tf.maximum(count, 1), losses.dtype), count


def spread(x: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Of requests x (n, w) -> of their candidates (n, C, w)."""
    return tf.tile(x[:, None], (1, tf.shape(candidates)[1], 1))
