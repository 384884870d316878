import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer.layers import flat
from trainer.layers.flat import FlatWeights


@pytest.fixture
def model():
    model = tf_keras.Sequential([tf_keras.layers.Dense(4), tf_keras.layers.Dense(2)])
    model.build((None, 3))
    return model  # weights of 12, 4, 8 and 2 elements


def test_small_weights_share_a_variable_and_large_ones_stand_alone(model, monkeypatch):
    monkeypatch.setattr(flat, "LARGE", 8)
    weights = FlatWeights(model)
    assert [tuple(v.shape) for v in weights.variables] == [(6,), (3, 4), (4, 2)]
    assert weights.size == 26


@pytest.mark.parametrize("large", [1, 8, 100])
def test_the_model_computes_with_what_it_is_given(model, monkeypatch, large):
    monkeypatch.setattr(flat, "LARGE", large)
    weights = FlatWeights(model)
    x = tf.constant([[1.0, 2.0, 3.0]])
    before = model(x).numpy()
    own = [variable.numpy() for variable in model.weights]
    with weights.bound([2.0 * variable for variable in weights.variables]):
        doubled = model(x).numpy()
    np.testing.assert_allclose(doubled, 4.0 * before, rtol=1e-5)  # two layers, biases are zero
    np.testing.assert_array_equal(model(x), before)
    for variable, value in zip(model.weights, own, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_values_are_in_the_models_order_however_they_are_grouped(model, monkeypatch):
    expected = np.concatenate([variable.numpy().ravel() for variable in model.weights])
    for large in (1, 8, 100):
        monkeypatch.setattr(flat, "LARGE", large)
        weights = FlatWeights(model)
        np.testing.assert_array_equal(weights.values(weights.variables), expected)
        weights.load(weights.variables, expected + 1.0)
        np.testing.assert_array_equal(weights.values(weights.variables), expected + 1.0)
        weights.add_slot("m", 0.5)
        assert weights.values(weights.slots["m"]).tolist() == [0.5] * 26


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match="'plain' must be built"):
        FlatWeights(tf_keras.Sequential([tf_keras.layers.Dense(1)], name="plain"))


def test_a_weight_in_no_attribute_is_named():
    class Hidden(tf_keras.layers.Layer):
        def build(self, shape):
            self.held = [self.add_weight("lost", (2,))]

    model = tf_keras.Sequential([Hidden()])
    model.build((None, 3))
    with pytest.raises(ValueError, match="held in no layer attribute: .*lost"):
        FlatWeights(model)
