"""Losses over (position, target) pairs: the next item against the catalogue, a sample of it, or the batch.

Shapes: h (T, d) are the positions' vectors, targets (T,) the items to predict, with index 0 (padding) never a
target and never a candidate. A loss is the mean over positions, in nats; ``pairwise`` and ``multi_label``, of which
a model adds several, are a value a position.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_recommenders as tfrs

CHUNK = 512
"""Positions whose logits are held at once: 25 MB for a catalogue of 12k items."""


@tf.function(jit_compile=True)
def _softmax_chunk(
    h: tf.Tensor, items: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Summed loss of one chunk and its gradients; h (C, d), items (N, d), targets (C,), weights (C,)."""
    logits = tf.matmul(h, items, transpose_b=True)  # (C, N)
    padding = tf.cast(tf.range(tf.shape(items)[0]) == 0, logits.dtype) * logits.dtype.min
    logits += padding
    peak = tf.reduce_max(logits, axis=1, keepdims=True)
    exp = tf.exp(logits - peak)
    total = tf.reduce_sum(exp, axis=1, keepdims=True)
    hit = tf.gather(items, targets)  # (C, d)
    loss = tf.math.log(total) + peak - tf.reduce_sum(h * hit, axis=1, keepdims=True)
    p = exp * (weights[:, None] / total)  # (C, N)
    scaled = weights[:, None] * h
    d_h = tf.matmul(p, items) - weights[:, None] * hit
    d_items = tf.matmul(p, h, transpose_a=True)
    d_items = tf.tensor_scatter_nd_sub(d_items, targets[:, None], scaled)
    return tf.reduce_sum(loss[:, 0] * weights), d_h, d_items


@tf.custom_gradient
def softmax(h: tf.Tensor, items: tf.Tensor, targets: tf.Tensor):
    """Cross-entropy of a softmax over the whole catalogue: −log softmax(h · itemsᵀ)[target].

    The (T, N) logits never exist: they are made a chunk of positions at a time, and each chunk's gradient is
    computed while they are at hand.

    Args:
      h: (T, d). items: (N, d), row 0 is padding. targets: (T,) int32 in [1, N).

    Returns:
      Scalar, the mean over T (0 where T is 0).
    """
    count = tf.shape(h)[0]
    chunks = -(-count // CHUNK)
    pad = chunks * CHUNK - count
    weights = tf.pad(tf.fill((count,), 1.0 / tf.cast(tf.maximum(count, 1), h.dtype)), ((0, pad),))
    width = h.shape[1]
    rows = tf.reshape(tf.pad(h, ((0, pad), (0, 0))), (chunks, CHUNK, width))
    labels = tf.reshape(tf.pad(targets, ((0, pad),)), (chunks, CHUNK))
    weights = tf.reshape(weights, (chunks, CHUNK))
    d_rows = tf.TensorArray(h.dtype, size=chunks, element_shape=(CHUNK, width))

    def body(i, loss, d_rows, d_items):
        part, d_h, d_v = _softmax_chunk(rows[i], items, labels[i], weights[i])
        return i + 1, loss + part, d_rows.write(i, d_h), d_items + d_v

    _, loss, d_rows, d_items = tf.while_loop(
        lambda i, *_: i < chunks,
        body,
        (0, tf.zeros((), h.dtype), d_rows, tf.zeros_like(items)),
        parallel_iterations=1,
    )
    d_h = tf.reshape(d_rows.stack(), (-1, width))[:count]

    def gradient(upstream: tf.Tensor):
        return upstream * d_h, upstream * d_items, None

    return loss, gradient


def unseen_softmax(h: tf.Tensor, items: tf.Tensor, targets: tf.Tensor, met: tf.Tensor) -> tf.Tensor:
    """`softmax` over the items that a position has not met, and its target: for few positions, as all logits are held.

    Args:
      h: (T, d). items: (N, d), row 0 is padding. targets: (T,) in [1, N). met: (T, L) indices, below 1 are none.

    Returns:
      (T,), a value a position.
    """
    logits = tf.matmul(h, items, transpose_b=True)  # (T, N)
    row = tf.broadcast_to(tf.range(tf.shape(met)[0])[:, None], tf.shape(met))
    at = tf.reshape(tf.stack([row, tf.maximum(met, 0)], axis=-1), (-1, 2))
    out = tf.scatter_nd(at, tf.ones_like(at[:, 0]), tf.shape(logits)) > 0
    out |= tf.range(tf.shape(items)[0]) == 0
    out &= tf.range(tf.shape(items)[0]) != targets[:, None]
    logits = tf.where(out, logits.dtype.min, logits)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)


def sampled_softmax(
    h: tf.Tensor,
    hit: tf.Tensor,
    sample: tf.Tensor,
    targets: tf.Tensor,
    ids: tf.Tensor,
    log_q: tf.Tensor,
    seen: tf.Tensor | None = None,
) -> tf.Tensor:
    """Softmax over the target and a shared sample, corrected for how often each item is sampled.

    Logits are h · v − log Q(v) for sampled items (Bengio & Senécal 2008); the target keeps h · v with its own
    log Q taken off too, and a sampled item that is the row's target is left out.

    Args:
      h: (T, d). hit: (T, d), the targets' vectors. sample: (S, d). targets: (T,). ids: (S,) sampled items.
      log_q: (N,), log of each item's expected count in the sample. seen: (T, S) bool, which of the sample are left out
        of a row besides.
    """
    positive = tf.reduce_sum(h * hit, axis=1, keepdims=True) - tf.gather(log_q, targets)[:, None]
    negative = tf.matmul(h, sample, transpose_b=True) - tf.gather(log_q, ids)[None, :]  # (T, S)
    left_out = ids[None, :] == targets[:, None]
    if seen is not None:
        left_out |= seen
    negative = tf.where(left_out, negative.dtype.min, negative)
    logits = tf.concat([positive, negative], axis=1)
    return tf.reduce_mean(tf.reduce_logsumexp(logits, axis=1) - logits[:, 0])


@tf.function  # by AutoGraph, which the task's own code needs
def in_batch(h: tf.Tensor, hit: tf.Tensor, targets: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """Softmax over the batch's targets: tensorflow-recommenders' Retrieval, log-Q corrected, repeats masked.

    Args:
      h: (T, d). hit: (T, d), the targets' vectors. targets: (T,). probability: (N,), an item's share of targets.
    """
    task = tfrs.tasks.Retrieval(
        loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True, reduction=tf.keras.losses.Reduction.SUM),
        remove_accidental_hits=True,
    )
    total = task(
        h,
        hit,
        candidate_sampling_probability=tf.gather(probability, targets),
        candidate_ids=targets,
        compute_metrics=False,
    )
    return total / tf.cast(tf.maximum(tf.shape(h)[0], 1), h.dtype)


def binary(h: tf.Tensor, hit: tf.Tensor, miss: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy of each target against one negative: −log σ(h·v⁺) − log(1 − σ(h·v⁻)) (SASRec, Eq. 7).

    Args:
      h, hit, miss: (T, d), the positions', targets' and negatives' vectors.
    """
    positive = tf.reduce_sum(h * hit, axis=1)
    negative = tf.reduce_sum(h * miss, axis=1)
    return tf.reduce_mean(tf.nn.softplus(-positive) + tf.nn.softplus(negative))


def pairwise(h: tf.Tensor, hit: tf.Tensor, miss: tf.Tensor) -> tf.Tensor:
    """That each target is scored above one negative: −log σ(h·v⁺ − h·v⁻) (Rendle et al., UAI 2009).

    Args:
      h, hit, miss: (T, d).

    Returns:
      (T,).
    """
    return tf.nn.softplus(tf.reduce_sum(h * (miss - hit), axis=1))


def multi_label(scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy of every label, summed: Σ −log σ(s) over those that hold, −log(1 − σ(s)) over the others.

    Args:
      scores: (T, M). labels: (T, A) int, distinct ones in [0, M) that hold; below 0 is padding.

    Returns:
      (T,).
    """
    held = tf.gather(scores, tf.maximum(labels, 0), batch_dims=1)  # (T, A)
    return tf.reduce_sum(tf.nn.softplus(scores), axis=1) - tf.reduce_sum(tf.where(labels < 0, 0.0, held), axis=1)
