import numpy as np
import pytest
import tensorflow as tf

from trainer.config import ModelConfig
from trainer.models.fdsa import FDSA


@pytest.fixture
def model() -> FDSA:
    model = FDSA(ModelConfig("fdsa", d=2, blocks=1, max_length=4, attributes=("categories",)))
    model.build((None, 4, 2))
    return model


def test_attention_over_attributes_by_hand(model):
    # With W the identity, coordinate 0 weighs ln 3 and 0 as 3 : 1, coordinate 1 weighs 2 and 4 as 1 : e².
    model.attend.kernel.assign(tf.eye(2))
    attributes = tf.constant([[[np.log(3.0), 2.0], [0.0, 4.0], [9.0, 9.0]]], tf.float32)
    found = model.describe(attributes, tf.constant([[True, True, False]]))
    e = np.exp(2.0)
    np.testing.assert_allclose(found, [[0.75 * np.log(3.0), (2.0 + 4.0 * e) / (1.0 + e)]], rtol=1e-6)


def test_an_item_without_attributes_is_described_by_zeros(model):
    found = model.describe(tf.ones((2, 3, 2)), tf.constant([[False] * 3, [True, False, False]]))
    np.testing.assert_allclose(found, [[0.0, 0.0], [1.0, 1.0]], rtol=1e-6)


def test_items_and_what_is_known_of_them_go_through_transformers_of_their_own(model):
    # The last layer takes the sum of both; each half of the input reaches only its own.
    model.join.kernel.assign(tf.concat([tf.eye(2), tf.eye(2)], axis=0))
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 3, 4)), tf.float32)
    mask = tf.ones((1, 3), tf.bool)
    expected = model.encoder(x[..., :2], mask) + model.feature_encoder(x[..., 2:], mask)
    np.testing.assert_allclose(model(x, mask), expected, rtol=1e-5, atol=1e-6)
    assert model.width == 4
