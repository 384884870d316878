"""What is trained beside a backbone as it is, to find out what titles could tell it: scores, and how they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import scipy.sparse
import tensorflow as tf
import tf_keras

from trainer.input import Held

EPOCHS, BATCH = 2, 256
SURE, RATE = 1e-2, 1e-3
"""Adam's rates: of s, a backbone's sureness, and of all else."""


@dataclass(frozen=True)
class Asked:
    """U users of a split, as the backbone sees them.

    Attributes:
        rows: what is asked. h: (U, d). titles: (U, D) of length 1, or 0 where no title is known.
    """

    rows: Held
    h: np.ndarray
    titles: np.ndarray

    def part(self, where: np.ndarray) -> Asked:
        """Those users (U,) bool alone."""
        user, history, target, seen_row, seen_item = self.rows
        kept, place = where[seen_row], np.cumsum(where) - 1
        rows = Held(user[where], history[where], target[where], place[seen_row[kept]], seen_item[kept])
        return Asked(rows, self.h[where], self.titles[where])

    def seen(self, items: int) -> scipy.sparse.csr_array:
        """(U, N) bool: what users have met, but for their targets."""
        apart = self.rows.seen_item != self.rows.target[self.rows.seen_row]
        row, item = self.rows.seen_row[apart], self.rows.seen_item[apart]
        return scipy.sparse.csr_array((np.ones(len(row), bool), (row, item)), (len(self.h), items))


class Scores(Protocol):
    """Scores of all items, with weights that users' targets teach.

    Attributes:
        candidates: (N, d), a backbone's.
    """

    candidates: tf.Tensor

    def scores(self, h: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        """h (B, d), titles (B, D) -> (B, N)."""

    def taught(self) -> list[tuple[tf.Variable, float]]:
        """Its weights, each with Adam's rate for it."""


class Form:
    """s h·v_i + q M t_i over a backbone's candidates v (N, d) and titles t (N, D); M starts as a weight. `Scores`."""

    def __init__(self, candidates: tf.Tensor, titles: np.ndarray, weight: float) -> None:
        self.candidates, self.titles = candidates, tf.constant(titles)
        self.s = tf.Variable(1.0)
        self.m = tf.Variable(weight * np.eye(titles.shape[1], dtype=np.float32))

    def scores(self, h: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        """See `Scores`."""
        told = tf.matmul(tf.matmul(titles, self.m), self.titles, transpose_b=True)
        return self.s * tf.matmul(h, self.candidates, transpose_b=True) + told

    def taught(self) -> list[tuple[tf.Variable, float]]:
        """See `Scores`."""
        return [(self.s, SURE), (self.m, RATE)]


class Layer:
    """(h + W [h, q] + b)·v_i at the length of h: a linear layer over h_RS as CoCo_fea's, with titles or not. `Scores`.

    Args:
        candidates: (N, d). width: D. told: whether it reads q.
    """

    def __init__(self, candidates: tf.Tensor, width: int, told: bool) -> None:
        self.candidates, self.told = candidates, told
        d = candidates.shape[1]
        self.b = tf.Variable(tf.zeros((d,)))
        self.w = tf.Variable(tf.zeros((d + width * told, d)))

    def scores(self, h: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        """See `Scores`."""
        length = tf.norm(h, axis=1, keepdims=True)
        level = h / tf.maximum(length, 1e-6) * float(h.shape[1]) ** 0.5
        read = tf.concat([level, titles * float(titles.shape[1]) ** 0.5], axis=1) if self.told else level
        moved = level + tf.matmul(read, self.w) + self.b
        return tf.matmul(tf.math.l2_normalize(moved, axis=1) * length, self.candidates, transpose_b=True)

    def taught(self) -> list[tuple[tf.Variable, float]]:
        """See `Scores`."""
        return [(self.w, RATE), (self.b, RATE)]


F = TypeVar("F", bound=Scores)


def learn(form: F, asked: Asked, seen: bool = False, seed: int = 0) -> F:
    """Teaches a form by cross-entropy, with Adam: over all items that the user has not met, with ``seen`` over all."""
    variables, rates = zip(*form.taught(), strict=True)
    optimizers, random = [tf_keras.optimizers.Adam(rate) for rate in rates], np.random.default_rng(seed)
    left_out = asked.seen(len(form.candidates))

    @tf.function(reduce_retracing=True)
    def step(h: tf.Tensor, titles: tf.Tensor, target: tf.Tensor, met: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(surprise(tf.where(met, -1e9, form.scores(h, titles)), target))
        for optimizer, *one in zip(optimizers, tape.gradient(loss, variables), variables, strict=True):
            optimizer.apply_gradients([one])

    for _ in range(EPOCHS):
        for drawn in np.array_split(random.permutation(len(asked.h)), max(1, len(asked.h) // BATCH)):
            met = left_out[drawn].toarray() & (not seen)
            step(asked.h[drawn], asked.titles[drawn], asked.rows.target[drawn], met)
    return form


def surprise(scores: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """(B, N), (B,) -> (B,): cross-entropy over all items but padding."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(target - 1, 0), scores[:, 1:])
