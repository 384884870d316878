"""Soft prompts: the codebook that users' prompts are selected from (CoCo §4.2.1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from trainer.config import CocoConfig


class Selection(NamedTuple):
    """The prompts of B users: the shared ones first, then those selected, nearest first.

    Attributes:
      prompts: (B, m, D), zeros at padding. mask: (B, m) bool, False at padding.
      quantization: (B,) L_Q of each user.
      index: (B, selected) codes that stand behind the shared prompts; those that ``mask`` drops among them.
      weights: (B, selected), what each of them is multiplied with.
    """

    prompts: tf.Tensor
    mask: tf.Tensor
    quantization: tf.Tensor
    index: tf.Tensor
    weights: tf.Tensor


class PromptCodebook(tf_keras.layers.Layer):
    """K codes z, S prompts that all users share, and W, by which h_RS comes to their width, e_u.

    Args:
      initial: (K, D), the codes at first. shared: (S, D), the shared prompts at first; None draws them from ``seed``
        with ``scale`` as their root mean square.
    """

    def __init__(
        self,
        config: CocoConfig,
        initial: np.ndarray,
        shared: np.ndarray | None = None,
        scale: float = 1.0,
        seed: int = 0,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.config, self.seed = config, seed
        self._initial, self._shared, self._scale = initial, shared, scale
        self.length = float(np.sqrt(np.mean(np.sum(np.square(initial), axis=1))))  # of e_u

    def build(self, shape: tf.TensorShape) -> None:
        d, width = shape[-1], self._initial.shape[1]
        near = tf_keras.initializers.RandomNormal(stddev=d**-0.5, seed=self.seed)
        drawn = tf_keras.initializers.RandomNormal(stddev=self._scale, seed=self.seed + 1)
        given = tf_keras.initializers.Constant(self._initial)
        common = drawn if self._shared is None else tf_keras.initializers.Constant(self._shared)
        self.codes = self.add_weight("codes", self._initial.shape, initializer=given)
        self.shared = self.add_weight("shared", (self.config.shared, width), initializer=common)
        self.project = self.add_weight("project", (d, width), initializer=near)
        super().build(shape)

    def call(self, h: tf.Tensor, selected: Selection | None = None) -> Selection:
        """h (B, d) -> the users' prompts: the codes whose cosine to e_u is above θ, so many at most.

        e_u is h W at the length that the codes began with: of any other, L_Q would take the codes from the length of
        what a language model reads.

        A user without such a code gets the shared prompts alone; L_Q is then of the nearest code.

        Args:
          selected: take the codes of this selection, as they are now, in place of the nearest.
        """
        config = self.config
        e = unit(tf.matmul(h, self.project))  # (B, D)
        cosines = tf.matmul(e, unit(self.codes), transpose_b=True)  # (B, K)
        if selected is None:
            nearest, index = tf.math.top_k(cosines, config.selected)
            there = nearest > config.threshold  # (B, selected)
        else:
            index, there = selected.index, selected.mask[:, config.shared :]
        chosen = tf.gather(self.codes, index)  # (B, selected, D)
        weights = self._gate(cosines, index)
        prompts = chosen * weights[..., None]
        users = tf.shape(h)[0]
        shared = tf.tile(self.shared[None], (users, 1, 1))
        prompts = tf.concat([shared, prompts * tf.cast(there, h.dtype)[..., None]], axis=1)
        mask = tf.concat([tf.ones((users, config.shared), tf.bool), there], axis=1)
        return Selection(prompts, mask, self._quantization(self.length * e, chosen, there), index, weights)

    def book(self) -> tuple[np.ndarray, np.ndarray]:
        """The codes (K, D) and the shared prompts (S, D) as they are."""
        return self.codes.numpy(), self.shared.numpy()

    def orthogonality(self) -> tf.Tensor:
        """L_ortho over pairs i < j of codes: the mean of squared cosines, or (Eq. 6 as printed) the sum of cosines."""
        cosines = tf.matmul(unit(self.codes), unit(self.codes), transpose_b=True)
        size = self.config.codes
        apart = 1.0 - tf.eye(size, dtype=cosines.dtype)
        if self.config.orthogonality == "signed":
            return tf.reduce_sum(cosines * apart) / 2.0
        return tf.reduce_sum(tf.square(cosines) * apart) / max(size * (size - 1), 1)

    def _gate(self, cosines: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """What the selected prompts are multiplied with (B, selected)."""
        config = self.config
        if config.gate == "off":
            return tf.ones_like(index, cosines.dtype)
        weights = tf.nn.softmax(cosines / config.temperature) if config.weights == "softmax" else cosines
        weights = tf.gather(weights, index, batch_dims=1)
        return weights if config.gate == "scaled" else 1.0 + weights - tf.stop_gradient(weights)

    def _quantization(self, e: tf.Tensor, chosen: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """L_Q (B,): the mean of ‖sg(e) − z‖² + c ‖e − sg(z)‖² over the selected codes (Eq. 4, in VQ-VAE's form)."""
        first = tf.one_hot(tf.zeros_like(there[:, 0], tf.int32), there.shape[1], True, False, dtype=tf.bool)
        taken = tf.cast(tf.where(tf.reduce_any(there, axis=1, keepdims=True), there, first), e.dtype)
        e = e[:, None]
        far = tf.reduce_sum(tf.square(tf.stop_gradient(e) - chosen), axis=-1)
        far += self.config.commitment * tf.reduce_sum(tf.square(e - tf.stop_gradient(chosen)), axis=-1)
        return tf.reduce_sum(taken * far, axis=1) / tf.reduce_sum(taken, axis=1)


class FixedPrompts(tf_keras.layers.Layer):
    """Prompts (m, D) that are the same for every user and stay as they are: templates that a person wrote."""

    def __init__(self, prompts: np.ndarray, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._prompts = prompts

    def call(self, h: tf.Tensor, selected: Selection | None = None) -> Selection:
        """As ``PromptCodebook.call``; nothing is selected and nothing quantized."""
        users, m = tf.shape(h)[0], len(self._prompts)
        prompts = tf.tile(tf.constant(self._prompts, h.dtype)[None], (users, 1, 1))
        nothing, none = tf.zeros((users,), h.dtype), tf.zeros((users, 0), h.dtype)
        return Selection(prompts, tf.ones((users, m), tf.bool), nothing, tf.cast(none, tf.int32), none)

    def book(self) -> tuple[np.ndarray, np.ndarray]:
        """As ``PromptCodebook.book``: all prompts are shared."""
        return np.zeros((0, self._prompts.shape[1]), np.float32), self._prompts

    def orthogonality(self) -> tf.Tensor:
        """There is no codebook: 0."""
        return tf.constant(0.0)


def unit(x: tf.Tensor) -> tf.Tensor:
    """x (…, n) of length 1."""
    return tf.math.l2_normalize(x, axis=-1)
