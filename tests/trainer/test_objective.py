import numpy as np
import pytest
import tensorflow as tf

from trainer.config import LossConfig, ModelConfig
from trainer.objective import Prediction
from trainer.recommender import Recommender
from trainer.sampling import Popularity
from trainer.step import Step

CONFIG = ModelConfig(d=8, blocks=1, heads=2, max_length=6, dropout=0.2, item_stddev=0.05)
HISTORY = tf.constant([[0, 0, 1, 2, 3, 4], [0, 0, 0, 0, 5, 6]])
TARGETS = tf.constant([[0, 1, 2, 3, 4, 7], [0, 0, 0, 5, 6, 8]])
POPULARITY = Popularity(np.arange(10))


def loss_of(recommender: Recommender, kind: str) -> tuple[float, int]:
    objective = Prediction(recommender, LossConfig(kind=kind, negatives=4), POPULARITY)
    with Step(tf.constant(1, tf.int64)) as step:
        loss, count = objective.loss(step, objective.batch(HISTORY, TARGETS, tf.constant([1, 2])))
    return float(loss), int(count)


@pytest.mark.parametrize("kind", ["softmax", "sampled_softmax", "mixed", "in_batch", "bce"])
@pytest.mark.parametrize("known", [False, True])
def test_every_loss_reads_the_same_positions_and_starts_at_chance(kind, known):
    knowledge = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32) if known else None
    found, count = loss_of(Recommender(CONFIG, 10, knowledge, seed=1), kind)
    assert count == 6  # real positions of the two histories
    chance = {"softmax": np.log(9), "bce": 2 * np.log(2)}
    if kind in chance:
        assert found == pytest.approx(chance[kind], rel=0.1)
    assert np.isfinite(found)


def test_full_softmax_equals_the_loss_written_out():
    recommender = Recommender(ModelConfig(d=8, blocks=1, max_length=6, dropout=0.0), 10, seed=1)
    found, _ = loss_of(recommender, "softmax")
    vectors = recommender.pull()
    h = recommender.model(tf.gather(vectors, HISTORY), HISTORY > 0)
    logits = tf.matmul(h, vectors[1:], transpose_b=True)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(TARGETS - 1, 0), logits)
    assert found == pytest.approx(float(tf.reduce_mean(tf.boolean_mask(each, HISTORY > 0))), rel=1e-5)


def test_every_loss_of_one_batch_is_the_same_on_any_number_of_shards():
    for kind in ("softmax", "bce"):
        one = loss_of(Recommender(CONFIG, 10, seed=1), kind)
        three = loss_of(Recommender(CONFIG, 10, devices=(None, None, None), seed=1), kind)
        assert one[0] == pytest.approx(three[0], rel=1e-6)
