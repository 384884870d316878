"""What all contestants of `antiphon bench ps` share: the examples' form, the MLP, the learning rate."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from benchmarks._ps_settings import Case, Settings

LEARNING_RATE = 0.01


def parse(serialized: tf.Tensor, settings: Settings) -> tuple[tf.Tensor, tf.Tensor]:
    """Serialized examples (n,) -> ids (n, features), each below ``settings.rows``, and labels (n,)."""
    parsed = tf.io.parse_example(
        serialized,
        {
            "ids": tf.io.FixedLenFeature((settings.features,), tf.int64),
            "label": tf.io.FixedLenFeature((), tf.float32),
        },
    )
    return parsed["ids"], parsed["label"]


def mlp(case: Case) -> tf_keras.Sequential:
    """Over an example's vectors end to end."""
    hidden = [tf_keras.layers.Dense(units, activation="relu") for units in case.mlp]
    return tf_keras.Sequential([*hidden, tf_keras.layers.Dense(1)])
