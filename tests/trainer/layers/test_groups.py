import numpy as np
import tensorflow as tf

from trainer.layers.groups import by_length, widths


def test_widths_end_at_the_full_length():
    assert widths(50) == (6, 12, 25, 50)
    assert widths(3) == (1, 3)
    assert widths(1) == (1,)


def test_each_real_position_comes_once_with_what_stands_beside_it():
    ids = tf.constant([[0, 0, 0, 0, 0, 0, 0, 3], [1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0, 0, 0, 0, 9, 9]])
    beside = 10 * ids
    vectors = tf.cast(tf.range(10), tf.float32)[:, None]
    out, ten = by_length(lambda x, mask, group: x + 0.5, ids, ids, vectors, beside)
    assert sorted(zip(out.numpy()[:, 0].tolist(), ten.numpy().tolist(), strict=True)) == sorted(
        (i + 0.5, 10 * i) for i in [3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    )


def test_a_sequence_with_nothing_in_it_gives_nothing():
    ids = tf.zeros((2, 4), tf.int32)
    out, _ = by_length(lambda x, mask, group: x, ids, ids, tf.ones((1, 3)), ids)
    assert out.shape == (0, 3)


def test_groups_give_what_one_padded_batch_gives():
    random = np.random.default_rng(0)
    ids = np.zeros((20, 16), np.int32)
    for row in ids:
        length = random.integers(0, 17)
        row[16 - length :] = random.integers(1, 50, length)
    vectors = tf.constant(random.normal(size=(50, 4)), tf.float32)

    def running_mean(x, mask, group):
        weight = tf.cast(mask, tf.float32)[..., None]
        return tf.cumsum(x * weight, axis=1) / tf.maximum(tf.cumsum(weight, axis=1), 1.0)

    grouped, label = by_length(running_mean, tf.constant(ids), tf.constant(ids), vectors, tf.constant(ids))
    whole = running_mean(tf.gather(vectors, ids), tf.constant(ids > 0), 0)
    expected = np.concatenate([whole.numpy()[ids > 0], ids[ids > 0][:, None]], axis=1)
    found = np.concatenate([grouped.numpy(), label.numpy()[:, None]], axis=1)
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], rtol=1e-5)
