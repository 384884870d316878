import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer.sampling import Popularity, first_met, of_batch, uniform, unseen


def test_popularity_draws_items_by_their_counts():
    source = Popularity(np.array([0, 0, 2, 6]))  # smoothed: 1, 3, 7 of 11
    drawn = source.draw(20000, tf.constant([1, 2])).numpy()
    share = np.bincount(drawn, minlength=4) / 20000
    np.testing.assert_allclose(share, [0, 1 / 11, 3 / 11, 7 / 11], atol=0.015)
    np.testing.assert_allclose(source.probability, [0, 1 / 11, 3 / 11, 7 / 11], rtol=1e-6)


def test_the_same_seed_draws_the_same_items():
    source = Popularity(np.ones(50, np.int64))
    first, again, other = (source.draw(20, tf.constant(s)).numpy() for s in ([1, 2], [1, 2], [1, 3]))
    assert (first == again).all()
    assert (first != other).any()


def test_negatives_are_never_in_the_window():
    history, targets = tf.constant([[0, 1, 2], [4, 5, 1]]), tf.constant([[0, 2, 3], [5, 1, 2]])
    for seed in range(20):
        drawn = unseen(history, targets, 60, tf.constant([seed, 0])).numpy()
        assert not set(drawn[0]) & {1, 2, 3}
        assert not set(drawn[1]) & {4, 5, 1, 2}
        assert drawn.min() >= 1
        assert drawn.max() < 60


def test_uniform_draws_every_item_and_no_padding():
    share = np.bincount(uniform(20000, 5, tf.constant([1, 2])).numpy(), minlength=6) / 20000
    np.testing.assert_allclose(share, [0, 0.25, 0.25, 0.25, 0.25, 0], atol=0.015)


def test_a_batch_s_targets_are_drawn_as_often_as_they_stand_in_it():
    targets = tf.constant([[0, 0, 3, 3], [0, 7, 3, 9]])
    share = np.bincount(of_batch(targets, 20000, tf.constant([1, 2])).numpy(), minlength=10) / 20000
    np.testing.assert_allclose(share[[0, 3, 7, 9]], [0, 0.6, 0.2, 0.2], atol=0.015)


def test_of_a_batch_without_targets_padding_is_drawn():
    assert of_batch(tf.zeros((2, 3), tf.int32), 4, tf.constant([1, 2])).numpy().tolist() == [0] * 4


def test_where_a_history_first_holds_a_negative():
    history = tf.constant([[0, 3, 5, 3], [-1, 0, 0, 7]])
    found = first_met(history, tf.constant([3, 9, 5, 3, 1, 7]), 10)
    np.testing.assert_array_equal(found, [[1, 4, 2, 1, 4, 4], [4, 4, 4, 4, 4, 3]])


@given(
    st.integers(1, 6).flatmap(
        lambda length: st.lists(st.lists(st.integers(-1, 8), min_size=length, max_size=length), min_size=1, max_size=4)
    ),
    st.lists(st.integers(1, 8), min_size=1, max_size=9),
)
def test_first_met_is_each_history_s_own_index(history, items):
    expected = [[row.index(item) if item in row else len(row) for item in items] for row in history]
    np.testing.assert_array_equal(first_met(tf.constant(history), tf.constant(items), 9), expected)
