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
    out, same, ten = by_length(lambda group, ids, beside: tf.cast(ids, tf.float32)[..., None] + 0.5, ids, beside)
    found = zip(out.numpy()[:, 0].tolist(), same.numpy().tolist(), ten.numpy().tolist(), strict=True)
    assert sorted(found) == sorted((i + 0.5, i, 10 * i) for i in [3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9])


def test_what_is_below_zero_is_no_padding():
    _, kept = by_length(lambda group, ids: tf.zeros((*ids.shape, 1)), tf.constant([[0, 0, -1, 5], [0, 0, 0, -1]]))
    assert sorted(kept.numpy()) == [-1, -1, 5]


def test_a_sequence_with_nothing_in_it_gives_nothing():
    ids = tf.zeros((2, 4), tf.int32)
    out, _ = by_length(lambda group, ids: tf.ones((tf.shape(ids)[0], tf.shape(ids)[1], 3)), ids)
    assert out.shape == (0, 3)


def test_groups_give_what_one_padded_batch_gives():
    random = np.random.default_rng(0)
    ids = np.zeros((20, 16), np.int32)
    for row in ids:
        length = random.integers(0, 17)
        row[16 - length :] = random.integers(1, 50, length)
    vectors = tf.constant(random.normal(size=(50, 4)), tf.float32)

    def running_mean(group, ids):
        x, weight = tf.gather(vectors, ids), tf.cast(ids > 0, tf.float32)[..., None]
        return tf.cumsum(x * weight, axis=1) / tf.maximum(tf.cumsum(weight, axis=1), 1.0)

    grouped, label = by_length(running_mean, tf.constant(ids))
    whole = running_mean(0, ids)
    expected = np.concatenate([whole.numpy()[ids > 0], ids[ids > 0][:, None]], axis=1)
    found = np.concatenate([grouped.numpy(), label.numpy()[:, None]], axis=1)
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], rtol=1e-5)
