import numpy as np
import tensorflow as tf

from trainer import masking
from trainer.masking import MASKED

SEQUENCES = tf.constant([[0, 0, 0, 0], [0, 0, 0, 5], [0, 6, 7, 8], [1, 2, 3, 4]])


def test_about_the_rate_is_hidden_and_one_item_at_least():
    rare = masking.some(SEQUENCES, 1e-9, tf.constant([1, 2])).numpy()
    assert rare.sum(axis=1).tolist() == [0, 1, 1, 1]
    many = masking.some(tf.ones((1000, 10), tf.int32), 0.3, tf.constant([1, 2])).numpy()
    assert 0.27 < many.mean() < 0.33
    assert not (rare & (SEQUENCES.numpy() == 0)).any()


def test_the_draw_follows_the_seed():
    first, again, other = (masking.some(SEQUENCES, 0.5, tf.constant(s)).numpy() for s in ([1, 2], [1, 2], [5, 2]))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_last_item_is_that_of_the_last_place():
    assert masking.last(SEQUENCES).numpy().tolist() == [[False] * 4] + [[False] * 3 + [True]] * 3


def test_what_is_hidden_is_the_answer():
    where = tf.constant([[False, True, False, True]])
    inputs, answers = masking.hidden(tf.constant([[1, 2, 3, 4]]), where)
    assert inputs.numpy().tolist() == [[1, MASKED, 3, MASKED]]
    assert answers.numpy().tolist() == [[0, 2, 0, 4]]


def test_a_segment_and_its_context_make_the_sequence():
    rows = np.zeros((200, 9), np.int32)
    random = np.random.default_rng(0)
    for k, row in enumerate(rows):
        row[9 - k % 10 :] = random.integers(1, 50, min(k % 10, 9)) if k % 10 else row[9:]
    cut = masking.Segments(*(part.numpy() for part in masking.segments(tf.constant(rows), tf.constant([1, 2]))))
    count = (rows > 0).sum(axis=1)
    within = (cut.context == MASKED).sum(axis=1)
    np.testing.assert_array_equal(within, cut.size)
    assert (cut.size[count < 2] == 0).all() and (cut.size[count >= 2] >= 1).all()
    assert (cut.size <= np.maximum(count // 2, 0)).all() and cut.size.max() == 4
    for version in (cut.context, cut.segment, cut.other):
        np.testing.assert_array_equal(version == 0, rows == 0)
    np.testing.assert_array_equal(np.maximum(cut.context, cut.segment), rows)
    np.testing.assert_array_equal(cut.other > 0, cut.segment > 0)
    everything = np.r_[rows[rows > 0], rows[rows > 0]].tolist()
    runs = {tuple(everything[i : i + n]) for n in range(1, 5) for i in range(len(everything) // 2)}
    assert all(tuple(row[row > 0]) in runs for row in cut.other if (row > 0).any())
    places = [tuple(np.flatnonzero(row > 0)) for row in cut.segment if (row > 0).any()]
    assert all(np.diff(place).tolist() == [1] * (len(place) - 1) for place in places)
    assert len(set(places)) > 10


def test_sequences_without_an_item_have_no_segment():
    cut = masking.segments(tf.zeros((2, 3), tf.int32), tf.constant([1, 2]))
    assert all((part.numpy() == 0).all() for part in cut)
