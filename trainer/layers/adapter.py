"""From stored vectors of a language model to the width of the recommender."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from feature_store.knowledge_shards import Statistics


class Standardized(tf_keras.layers.Layer):
    """x (…, D) -> s (x − c), both trained.

    A language model's vectors lie close together, far from 0 and at a scale of their own. So c starts at their mean
    and s at one over their deviation: what comes out has a level of 1 at the first step.

    Args:
      statistics: of the vectors; None is mean 0 and deviation 1.
    """

    def __init__(self, statistics: Statistics | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._statistics = statistics

    def build(self, width: int) -> None:
        """Makes the weights; ``width`` is D."""
        mean, deviation = self._statistics or (np.zeros(width, np.float32), 1.0)
        start = tf_keras.initializers.Constant
        self.centre = self.add_weight("centre", (width,), initializer=start(mean))
        self.scale = self.add_weight("scale", (1,), initializer=start(1.0 / max(deviation, 1e-6)))
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.scale * (x - self.centre)


class LinearAdapter(tf_keras.layers.Layer):
    """``Standardized`` vectors (…, D) through one matrix -> (…, d).

    Args:
      d: of what comes out. statistics: as of ``Standardized``.
    """

    def __init__(self, d: int, statistics: Statistics | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.d, self.level = d, Standardized(statistics, name="level")

    def build(self, width: int) -> None:
        """Makes the weights; ``width`` is D."""
        self.level.build(width)
        self.kernel = self.add_weight("kernel", (width, self.d), initializer="glorot_uniform")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(self.level(x), self.kernel)
