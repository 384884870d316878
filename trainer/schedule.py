"""Learning rates that fall while training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from trainer.loop_config import ScheduledOptimizerConfig

Schedule = Callable[[tf.Tensor], tf.Tensor]
"""A step's number, from 1 -> the learning rate."""


def falling(config: ScheduledOptimizerConfig, steps: int) -> Schedule:
    """From ``learning_rate`` at step 1 to ``final_rate`` at step ``steps`` and after it: by equal differences, by equal
    ratios, or along half a cosine."""
    first, last = config.learning_rate, config.final_rate

    def rate(step: tf.Tensor) -> tf.Tensor:
        done = tf.clip_by_value(tf.cast(step - 1, tf.float32) / max(steps - 1, 1), 0.0, 1.0)
        if config.schedule == "exponential":
            return first * tf.pow(last / first, done)
        if config.schedule == "cosine":
            return last + (first - last) * 0.5 * (1.0 + tf.cos(math.pi * done))
        return first + (last - first) * done

    return rate
