"""Centroids that follow what they are asked about."""

from __future__ import annotations

import tensorflow as tf
import tf_keras


class Memory(tf_keras.layers.Layer):
    """A memory of centroids (UIE, Liu et al., 2024): a question is answered with the mix of those nearest to it.

    Args:
      count: of the centroids. d: their width. nearest: how many are mixed.
    """

    def __init__(self, count: int, d: int, nearest: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.count, self.d, self.nearest = count, d, nearest

    def build(self, shape: object) -> None:
        self.centroids = self.add_weight("centroids", (self.count, self.d), initializer="random_normal")
        super().build(shape)

    def call(self, question: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """question (n, d) -> the mix (n, d), weighted by a softmax over inner products of which those below 0 count for
        nothing, and the squared distance (n,) from the question to its nearest centroid, which moves centroids alone.
        """
        product = tf.matmul(question, self.centroids, transpose_b=True)  # (n, K)
        best, places = tf.math.top_k(product, self.nearest)
        weights = tf.nn.softmax(best) * tf.cast(best > 0, best.dtype)
        mixed = tf.reduce_sum(weights[..., None] * tf.gather(self.centroids, places), axis=1)
        apart = tf.reduce_sum(tf.square(tf.stop_gradient(question)[:, None] - self.centroids[None]), axis=-1)
        return mixed, tf.reduce_min(apart, axis=1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "count": self.count, "d": self.d, "nearest": self.nearest}
