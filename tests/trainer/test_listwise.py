import numpy as np
import pytest
import tensorflow as tf

from trainer.listwise import list_losses


def losses(logits, labels, present, target):
    found = list_losses(tf.constant(logits, tf.float32), tf.constant(labels, tf.float32), tf.constant(present), target)
    return [part.numpy() for part in found]


def test_one_click_costs_the_logarithm_of_its_share():
    each, counts = losses([[0.0, np.log(3.0), 50.0]], [[0.0, 1.0, 0.0]], [[True, True, False]], "normalized")
    np.testing.assert_allclose(each, [-np.log(3 / 4)], rtol=1e-6)
    assert counts.tolist() == [True]


def test_two_clicks_share_the_mass_and_a_perfect_list_costs_nothing():
    each, _ = losses([[0.0, 0.0, -60.0]], [[1.0, 1.0, 0.0]], [[True] * 3], "normalized")
    np.testing.assert_allclose(each, [0.0], atol=1e-6)
    each, _ = losses([[0.0, 0.0, 0.0]], [[1.0, 1.0, 0.0]], [[True] * 3], "normalized")
    np.testing.assert_allclose(each, [np.log(3 / 2)], rtol=1e-6)


def test_as_printed_the_labels_go_through_a_softmax():
    each, _ = losses([[0.0, 0.0, 9.0]], [[1.0, 0.0, 1.0]], [[True, True, False]], "softmax")
    p = np.array([np.e, 1.0]) / (np.e + 1)
    np.testing.assert_allclose(each, [(p * np.log(p / 0.5)).sum()], rtol=1e-5)


@pytest.mark.parametrize("target", ["normalized", "softmax"])
def test_a_list_without_a_label_does_not_count(target):
    each, counts = losses([[1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]], [[True] * 2] * 2, target)
    assert each[0] == 0.0 and each[1] > 0
    assert counts.tolist() == [False, True]


def test_a_label_at_padding_is_none():
    _, counts = losses([[1.0, 2.0]], [[0.0, 1.0]], [[True, False]], "normalized")
    assert counts.tolist() == [False]
