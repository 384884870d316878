"""Feature crossing as in DCN-V2 (Wang et al., WWW 2021)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras


class FeatureCross(tf_keras.layers.Layer):
    """x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l for a number of layers: each adds products of one degree more.

    Args:
      depth: number of layers; 0 leaves x_0 as it is.
    """

    def __init__(self, depth: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.depth = depth
        self.layers_: list[tf_keras.layers.Dense] = []

    def build(self, shape: tf.TensorShape) -> None:
        self.layers_ = [tf_keras.layers.Dense(shape[-1]) for _ in range(self.depth)]
        for layer in self.layers_:
            layer.build(shape)
        super().build(shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """x_0 (…, w) -> (…, w)."""
        crossed = x
        for layer in self.layers_:
            crossed = x * layer(crossed) + crossed
        return crossed

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "depth": self.depth}
