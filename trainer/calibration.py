"""A model's logits made into probabilities that hold: fitted on validation, stored with what is exported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from scipy.special import expit

_ROUNDS = 50


@dataclass(frozen=True)
class Calibration:
    """σ(scale · z + shift) (Platt 1999); a temperature alone is 1 / scale with shift 0."""

    scale: float = 1.0
    shift: float = 0.0

    def probability(self, logits: np.ndarray) -> np.ndarray:
        return expit(self.scale * logits.astype(np.float64) + self.shift)

    def of(self, logits: tf.Tensor) -> tf.Tensor:
        """In a graph."""
        return tf.sigmoid(self.scale * logits + self.shift)


def fit(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """The calibration of least cross-entropy on logits and labels (n,), by Newton's method from where it does nothing.

    Labels are drawn in a little, as Platt does: with P positive and N negative ones they are (P + 1) / (P + 2) and
    1 / (N + 2), so that logits which part them keep a finite scale. An order that is the wrong way round is kept: the
    scale stays above 0.
    """
    logits, positive = logits.astype(np.float64), labels > 0
    count = int(positive.sum())
    targets = np.where(positive, (count + 1) / (count + 2), 1 / (len(labels) - count + 2))
    x = np.stack([logits, np.ones_like(logits)], axis=1)
    at, before = np.array([1.0, 0.0]), np.inf
    for _ in range(_ROUNDS):
        z = x @ at
        loss = float((np.logaddexp(0.0, z) - targets * z).mean())
        if before - loss < 1e-12:
            break
        before, p = loss, expit(z)
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(z) + 1e-9 * np.eye(2)
        step, size = np.linalg.solve(hessian, x.T @ (p - targets) / len(z)), 1.0
        while size > 1e-6 and _loss(x @ (at - size * step), targets) > loss:
            size /= 2
        at = at - size * step
    if at[0] <= 0:
        return Calibration(1.0, _shift(logits, targets))
    return Calibration(float(at[0]), float(at[1]))


def _loss(z: np.ndarray, targets: np.ndarray) -> float:
    return float((np.logaddexp(0.0, z) - targets * z).mean())


def _shift(logits: np.ndarray, targets: np.ndarray) -> float:
    """The shift alone that gives the labels' mean, by bisection."""
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if expit(logits + middle).mean() > targets.mean() else (middle, high)
    return (low + high) / 2
