import numpy as np
import pytest
import tensorflow as tf

from trainer import losses


def plain_softmax(h, items, targets):
    logits = h @ items[1:].T
    peak = logits.max(1, keepdims=True)
    total = np.log(np.exp(logits - peak).sum(1)) + peak[:, 0]
    return (total - logits[np.arange(len(h)), targets - 1]).mean()


def test_softmax_by_hand():
    # Candidates 1 and 2 score 0 and ln 3 for the one position: the target 2 has probability 3/4.
    h, items = tf.constant([[1.0]]), tf.constant([[50.0], [0.0], [np.log(3.0)]])
    assert float(losses.softmax(h, items, tf.constant([2]))) == pytest.approx(-np.log(0.75), rel=1e-6)


@pytest.mark.parametrize("count", [1, losses.CHUNK, losses.CHUNK + 7])
def test_softmax_and_its_gradients_equal_the_plain_graph(count):
    random = np.random.default_rng(count)
    h = tf.constant(random.normal(size=(count, 8)), tf.float32)
    items = tf.constant(random.normal(size=(40, 8)), tf.float32)
    targets = tf.constant(random.integers(1, 40, count), tf.int32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([h, items])
        ours = 3.0 * losses.softmax(h, items, targets)
        logits = tf.matmul(h, items[1:], transpose_b=True)
        stock = 3.0 * tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets - 1, logits))
    assert float(ours) == pytest.approx(float(stock), rel=1e-5)
    assert float(ours) == pytest.approx(3 * plain_softmax(h.numpy(), items.numpy(), targets.numpy()), rel=1e-5)
    for ours_gradient, stock_gradient in zip(
        tape.gradient(ours, [h, items]), tape.gradient(stock, [h, items]), strict=True
    ):
        np.testing.assert_allclose(ours_gradient, tf.convert_to_tensor(stock_gradient), atol=2e-6)


def test_softmax_of_no_positions_is_zero():
    assert float(losses.softmax(tf.zeros((0, 4)), tf.ones((5, 4)), tf.zeros((0,), tf.int32))) == 0.0


def test_unseen_softmax_leaves_out_what_was_met_but_never_the_target():
    # Items 1, 2 and 3 score 0, ln 3 and ln 2; the first position has met 2, the second its own target 3.
    h = tf.constant([[1.0], [1.0]])
    items = tf.constant([[50.0], [0.0], [np.log(3.0)], [np.log(2.0)]])
    found = losses.unseen_softmax(h, items, tf.constant([3, 3]), tf.constant([[0, 2], [3, -1]]))
    np.testing.assert_allclose(found, [-np.log(2 / 3), -np.log(2 / 6)], rtol=1e-6)
    assert losses.unseen_softmax(h[:0], items, tf.zeros((0,), tf.int32), tf.zeros((0, 2), tf.int32)).shape == (0,)


def test_sampled_softmax_by_hand():
    # h·v⁺ = ln 2, one sampled item scores ln 3; equal Q cancels: p = 2 / (2 + 3).
    h, hit, sample = tf.constant([[1.0]]), tf.constant([[np.log(2.0)]]), tf.constant([[np.log(3.0)]])
    log_q = tf.math.log([0.5, 0.5, 0.5])
    args = (tf.cast(h, tf.float32), tf.cast(hit, tf.float32), tf.cast(sample, tf.float32))
    loss = losses.sampled_softmax(*args, tf.constant([1]), tf.constant([2]), log_q)
    assert float(loss) == pytest.approx(-np.log(0.4), rel=1e-6)


def test_sampled_softmax_leaves_out_a_sampled_target():
    one = tf.ones((1, 1))
    loss = losses.sampled_softmax(one, one, one, tf.constant([1]), tf.constant([1]), tf.zeros((3,)))
    assert float(loss) == pytest.approx(0.0, abs=1e-6)


def test_sampled_softmax_leaves_out_what_a_row_has_seen():
    # Both rows would have odds 1 to 1 + 1; the first has seen one of the two negatives.
    zero = tf.zeros((2, 1))
    seen = tf.constant([[True, False], [False, False]])
    loss = losses.sampled_softmax(zero, zero, zero, tf.constant([1, 1]), tf.constant([2, 3]), tf.zeros((4,)), seen)
    assert float(loss) == pytest.approx((np.log(2) + np.log(3)) / 2, rel=1e-6)


def test_sampled_softmax_corrects_for_how_often_an_item_is_drawn():
    # A popular negative, drawn four times as often, counts a quarter: odds 1 to (1/4) / 1.
    zero = tf.zeros((1, 1))
    log_q = tf.math.log([1.0, 1.0, 4.0])
    loss = losses.sampled_softmax(zero, zero, zero, tf.constant([1]), tf.constant([2]), log_q)
    assert float(loss) == pytest.approx(np.log(1 + 0.25), rel=1e-6)


def test_in_batch_by_hand():
    # Two rows with orthogonal targets, equal probabilities: each row's odds are e to 1.
    eye = tf.eye(2)
    loss = losses.in_batch(eye, eye, tf.constant([1, 2]), tf.constant([0.0, 0.5, 0.5]))
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-5)


def test_in_batch_masks_a_repeat_of_the_target():
    eye = tf.ones((2, 2))
    loss = losses.in_batch(eye, eye, tf.constant([1, 1]), tf.constant([0.0, 1.0]))
    assert float(loss) == pytest.approx(0.0, abs=1e-5)


def test_binary_by_hand():
    h, hit, miss = tf.constant([[1.0]]), tf.constant([[0.0]]), tf.constant([[np.log(3.0)]])
    loss = losses.binary(h, hit, tf.cast(miss, tf.float32))
    assert float(loss) == pytest.approx(np.log(2) + np.log(4), rel=1e-6)


def test_pairwise_by_hand():
    # Scores 2·1 and 2·0.5 apart by 1: −log σ(1); then by −ln 3: σ is 1/4.
    h, hit, miss = tf.constant([[2.0], [1.0]]), tf.constant([[1.0], [0.0]]), tf.constant([[0.5], [np.log(3.0)]])
    np.testing.assert_allclose(losses.pairwise(h, hit, miss), [np.log1p(np.exp(-1.0)), np.log(4.0)], rtol=1e-6)


def test_multi_label_by_hand():
    # σ(0) = 1/2 and σ(ln 3) = 3/4: label 1 alone holds, then both, then none.
    scores = tf.constant([[0.0, np.log(3.0)]] * 3, tf.float32)
    found = losses.multi_label(scores, tf.constant([[1, -1], [1, 0], [-1, -1]]))
    np.testing.assert_allclose(found, -np.log([1 / 2 * 3 / 4, 1 / 2 * 3 / 4, 1 / 2 * 1 / 4]), rtol=1e-6)
