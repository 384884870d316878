import numpy as np
import tensorflow as tf

from trainer.layers.dropout import dropout


def test_the_seed_alone_decides_the_mask():
    x = tf.ones((1000,))
    first, again, other = (dropout(x, 0.25, tf.constant(s)).numpy() for s in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert abs((first == 0).mean() - 0.25) < 0.05


def test_no_seed_means_no_dropout():
    x = tf.constant([1.0, 2.0])
    np.testing.assert_array_equal(dropout(x, 0.9, None), x)
