"""Gated distillation between two channels (ChoirRec, §4.4.3). All tensors have one shape, that of the logits."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def margin_loss(teacher: tf.Tensor, student: tf.Tensor, temperature: float, margin: float) -> tf.Tensor:
    """max(0, |σ(z_ind / T) − σ(z_group / T)| − m)² (Eq. 7)."""
    apart = tf.abs(tf.sigmoid(teacher / temperature) - tf.sigmoid(student / temperature))
    return tf.square(tf.maximum(apart - margin, 0.0))


def kl_loss(teacher: tf.Tensor, student: tf.Tensor, temperature: float) -> tf.Tensor:
    """The Kullback-Leibler divergence of the student's prediction from the teacher's, both of z / T."""
    one, other = teacher / temperature, student / temperature
    p = tf.sigmoid(one)
    return p * (tf.math.log_sigmoid(one) - tf.math.log_sigmoid(other)) + (1.0 - p) * (
        tf.math.log_sigmoid(-one) - tf.math.log_sigmoid(-other)
    )


def qualified(
    teacher: tf.Tensor, purchases: tf.Tensor, min_purchases: int, min_confidence: float, base_rate: float | None
) -> tf.Tensor:
    """g_qual = 1[|S_u^buy| ≥ θ_act] · 1[teacher confident], as 0 and 1.

    Args:
      purchases: |S_u^buy|, broadcast. base_rate: the teacher is confident where its logit is further than θ_conf from
        the base rate's; None is as printed, |σ(z_ind) − 0.5| > θ_conf.
    """
    if base_rate is None:
        far = tf.abs(tf.sigmoid(teacher) - 0.5)
    else:
        far = tf.abs(teacher - float(np.log(base_rate) - np.log1p(-base_rate)))
    gates = tf.cast(purchases >= min_purchases, teacher.dtype) * tf.cast(far > min_confidence, teacher.dtype)
    return tf.stop_gradient(gates)


def gated(losses: tf.Tensor, qualification: tf.Tensor, reliability: tf.Tensor) -> tf.Tensor:
    """g_qual · α_distill · loss (Eq. 9), as the mean over those that qualify; 0 where none does."""
    count = tf.maximum(tf.reduce_sum(qualification), 1.0)
    return tf.reduce_sum(qualification * reliability * losses) / count
