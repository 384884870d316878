"""Group knowledge on its one way into the individual channel."""

from __future__ import annotations

import tensorflow as tf
import tf_keras


class Injection(tf_keras.layers.Layer):
    """W₂ ReLU(W₁ [h_group,mid, h_ind,mid] + b₁) + b₂ (ChoirRec, Eq. 6), to be added to h_ind,post.

    Args:
      width: of h_ind,post. detach: h_group,mid takes no gradient, so that the group channel stays isolated.
    """

    def __init__(self, width: int, detach: bool = True, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.width, self.detach = width, detach
        self.inner = tf_keras.layers.Dense(width, activation="relu")
        self.outer = tf_keras.layers.Dense(width)

    def build(self, shape: tf.TensorShape) -> None:
        """``shape`` ends in the widths of both, added."""
        self.inner.build(shape)
        self.outer.build((None, self.width))
        super().build(shape)

    def call(self, group: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        """h_group,mid (…, w) and h_ind,mid (…, w) -> (…, width)."""
        group = tf.stop_gradient(group) if self.detach else group
        return self.outer(self.inner(tf.concat([group, own], axis=-1)))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "width": self.width, "detach": self.detach}
