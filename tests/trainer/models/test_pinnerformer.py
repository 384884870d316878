import numpy as np
import pytest
import tensorflow as tf

from trainer.config import ModelConfig
from trainer.models.pinnerformer import PinnerFormer

HISTORY, TARGETS = tf.constant([[0, 0, 1, 2, 3]] * 300), tf.constant([[0, 1, 2, 3, 4]] * 300)


def made(**settings) -> PinnerFormer:
    model = PinnerFormer(ModelConfig("pinnerformer", d=8, max_length=5, **{"temperature": 0.1, **settings}))
    model.build((None, 5, 8))
    return model


def test_a_target_is_any_of_the_next_items_and_each_comes():
    window = made(future=2).window(HISTORY, TARGETS, tf.constant([1, 2]))
    found = [sorted(set(column)) for column in window.targets.numpy().T.tolist()]
    assert found == [[0], [0], [2, 3], [3, 4], [4]]
    np.testing.assert_array_equal(window.inputs, HISTORY)


def test_each_of_them_comes_as_often():
    window = made(future=100).window(HISTORY, TARGETS, tf.constant([1, 2]))
    assert np.abs(np.bincount(window.targets[:, 2])[2:] / 300 - 1 / 3).max() < 0.1


def test_with_a_future_of_one_it_is_the_next_item():
    window = made(future=1).window(HISTORY, TARGETS, tf.constant([1, 2]))
    np.testing.assert_array_equal(window.targets, tf.where(HISTORY > 0, TARGETS, 0))


def test_scores_are_cosines_over_a_learned_temperature():
    model, x = made(), tf.constant(np.random.default_rng(0).normal(size=(1, 5, 8)), tf.float32)
    mask = tf.ones((1, 5), tf.bool)
    np.testing.assert_allclose(tf.norm(model(x, mask), axis=-1), np.full((1, 5), 10.0), rtol=1e-5)
    np.testing.assert_allclose(tf.norm(model.items(x[0], None), axis=-1), np.ones(5), rtol=1e-5)
    model.log_scale.assign([9.0])  # below the least temperature there is
    np.testing.assert_allclose(tf.norm(model(x, mask), axis=-1), np.full((1, 5), 100.0), rtol=1e-5)


def test_the_last_layers_can_have_a_residual():
    x, mask = tf.constant(np.random.default_rng(0).normal(size=(1, 5, 8)), tf.float32), tf.ones((1, 5), tf.bool)
    model = made(residual=True)
    model.down.kernel.assign(tf.zeros((8, 8)))  # what is added to it is nothing now
    encoded = model.encoder(x, mask)
    np.testing.assert_allclose(model(x, mask), 10 * tf.math.l2_normalize(encoded, axis=-1), rtol=1e-5)
    with pytest.raises(ValueError, match="kind must be 'pinnerformer' with residual"):
        ModelConfig(residual=True)


def test_it_needs_a_temperature():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        ModelConfig("pinnerformer")
