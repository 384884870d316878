"""A memory of centroids, by hand."""

import numpy as np
import tensorflow as tf

from trainer.layers.memory import Memory


def test_a_memory_mixes_the_nearest_that_agree_and_follows_what_it_is_asked():
    memory = Memory(3, 2, 2)
    memory.build((None, 2))
    memory.centroids.assign([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])
    question = tf.constant([[1.0, 1.0], [-1.0, 0.0]])
    with tf.GradientTape() as tape:
        mixed, apart = memory(question)
        whole = tf.reduce_sum(apart)
    best = np.exp([2.0, 1.0]) / np.exp([2.0, 1.0]).sum()
    alone = np.exp(1.0) / (np.exp(1.0) + 1)  # the other's inner product is 0: it counts for nothing
    np.testing.assert_allclose(mixed, [[best[1], 2 * best[0]], [-alone, -alone]], rtol=1e-5)
    np.testing.assert_allclose(apart, [1.0, 1.0])
    np.testing.assert_allclose(tape.gradient(whole, memory.centroids), [[0, -2], [0, 0], [0, -2]])
