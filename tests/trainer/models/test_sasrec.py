import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import ModelConfig
from trainer.models.sasrec import SASRec

CONFIG = ModelConfig(d=8, blocks=2, heads=2, max_length=6, dropout=0.5)


@pytest.fixture
def model() -> SASRec:
    model = SASRec(CONFIG)
    model.build((None, 6, 8))
    return model


def test_a_shorter_slice_of_the_same_history_gives_the_same_vectors(model):
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 6, 8)), tf.float32)
    mask = tf.constant([[False, False, False, True, True, True]])
    np.testing.assert_allclose(model(x, mask)[:, 3:], model(x[:, 3:], mask[:, 3:]), rtol=1e-5, atol=1e-6)


def test_positions_count_from_the_newest_item(model):
    model.encoder.position.assign(tf.range(48, dtype=tf.float32)[:, None][:6] * tf.ones((6, 8)) * tf.range(8.0))
    one = tf.zeros((1, 1, 8))
    alone = model(one, tf.constant([[True]]))
    last = model(tf.zeros((1, 6, 8)), tf.constant([[False] * 5 + [True]]))[:, -1:]
    np.testing.assert_allclose(alone, last, rtol=1e-5)


def test_with_a_temperature_scores_are_cosines_over_it():
    model = SASRec(dataclasses.replace(CONFIG, temperature=0.1))
    model.build((None, 6, 8))
    rows = tf.constant(np.random.default_rng(0).normal(size=(3, 8)), tf.float32)
    vectors = model.items(rows, None)
    np.testing.assert_allclose(tf.norm(vectors, axis=1), np.ones(3), rtol=1e-6)
    out = model(vectors[None], tf.ones((1, 3), tf.bool))
    np.testing.assert_allclose(tf.norm(out, axis=-1), np.full((1, 3), 10.0), rtol=1e-5)
    np.testing.assert_allclose(model.items(2 * rows, None), vectors, rtol=1e-6)  # lengths have no say


def test_knowledge_starts_without_a_say_and_is_projected(model):
    model = SASRec(CONFIG)
    model.build((None, 6, 8), knowledge_width=3)
    rows, known = tf.ones((2, 8)), tf.constant([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    np.testing.assert_array_equal(model.items(rows, known), rows)
    model.knowledge.kernel.assign(tf.ones((3, 8)))
    np.testing.assert_array_equal(model.items(rows, known), [[2.0] * 8, [3.0] * 8])
