import numpy as np
import pytest
import tensorflow as tf

from trainer.config import ModelConfig
from trainer.masking import MASKED
from trainer.models.bert4rec import BERT4Rec

TARGETS = tf.constant([[0, 1, 2, 3], [4, 5, 6, 7]] * 100)
HISTORY = tf.constant([[0, 0, 1, 2], [0, 4, 5, 6]] * 100)


def made(**settings) -> BERT4Rec:
    model = BERT4Rec(ModelConfig("bert4rec", d=8, heads=2, max_length=4, norm="post", **settings))
    model.build((None, 4, 8))
    return model


def test_hidden_items_are_the_targets_and_the_others_the_inputs():
    window = made(mask_rate=0.4, mask_last=0.0).window(HISTORY, TARGETS, tf.constant([1, 2]))
    hidden = window.targets > 0
    np.testing.assert_array_equal(tf.where(hidden, window.targets, window.inputs), TARGETS)
    assert (window.inputs.numpy()[hidden.numpy()] == MASKED).all()
    assert hidden.numpy().any(axis=1).all()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_of_some_sequences_the_last_item_alone_is_hidden(share):
    window = made(mask_rate=0.999, mask_last=share).window(HISTORY, TARGETS, tf.constant([1, 2]))
    alone = (window.targets > 0).numpy().sum(axis=1) == 1
    assert abs(alone.mean() - share) < 0.1
    assert (window.targets.numpy()[alone][:, -1] > 0).all()


def test_it_is_asked_with_a_hidden_item_after_the_history():
    found = made().question(tf.constant([[0, 0, 1, 2], [3, 4, 5, 6], [0, 0, 0, 0]]))
    assert found.numpy().tolist() == [[0, 1, 2, MASKED], [4, 5, 6, MASKED], [0, 0, 0, MASKED]]


def test_a_hidden_item_is_the_mask_vector():
    model = made()
    model.mask_vector.assign(tf.fill((1, 8), 5.0))
    x = model.hide(tf.ones((1, 3, 8)), tf.constant([[2, MASKED, 0]]))
    np.testing.assert_array_equal(x[0], [[1.0] * 8, [5.0] * 8, [1.0] * 8])


def test_it_sees_both_sides():
    model, mask = made(), tf.ones((1, 4), tf.bool)
    x = np.random.default_rng(0).normal(size=(1, 4, 8)).astype("f4")
    changed = x.copy()
    changed[:, 3] *= -1.0
    assert (model(tf.constant(x), mask)[:, 0] != model(tf.constant(changed), mask)[:, 0]).numpy().any()
