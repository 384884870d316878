"""A hierarchical group id as one vector."""

from __future__ import annotations

import tensorflow as tf
import tf_keras


class GroupIdFusion(tf_keras.layers.Layer):
    """Prefix fusion (ChoirRec, Eqs. 4 and 5): each level's vector is joined with its parent's, all of them are put
    through a perceptron, and the outcome has length 1.

    Args:
      levels: M. d: width of a level's vector, and of the outcome. parent: "fused" is e_fuse of the level above, "base"
        its own vector alone.
    """

    def __init__(self, levels: int, d: int, parent: str = "fused", **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.levels, self.d, self.parent = levels, d, parent
        self.fusions = [tf_keras.layers.Dense(d, activation="tanh") for _ in range(levels - 1)]
        self.inner = tf_keras.layers.Dense(d, activation="relu")
        self.outer = tf_keras.layers.Dense(d)

    def build(self, shape: object = None) -> None:
        for layer in self.fusions:
            layer.build((None, 2 * self.d))
        self.inner.build((None, self.levels * self.d))
        self.outer.build((None, self.d))
        super().build(shape)

    def call(self, base: tf.Tensor) -> tf.Tensor:
        """Vectors of the levels (n, M, d), zero from where the group's prefix ends -> e_G (n, d)."""
        levels = tf.unstack(base, num=self.levels, axis=1)
        fused = [levels[0]]
        for number, layer in enumerate(self.fusions, 1):
            above = fused[-1] if self.parent == "fused" else levels[number - 1]
            fused.append(layer(tf.concat([above, levels[number]], axis=1)))
        return tf.math.l2_normalize(self.outer(self.inner(tf.concat(fused, axis=1))), axis=1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "levels": self.levels, "d": self.d, "parent": self.parent}
