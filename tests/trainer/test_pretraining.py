import numpy as np
import pytest
import tensorflow as tf

from trainer.attributes import Attributes
from trainer.config import ModelConfig, PretrainConfig
from trainer.masking import MASKED
from trainer.pretraining import Pretraining
from trainer.recommender import Recommender
from trainer.step import Step

ATTRIBUTES = Attributes(np.array([[-1, -1], [0, 1], [1, -1], [2, 3], [-1, -1], [0, 3], [2, -1], [3, 1]], np.int32), 4)
CONFIG = ModelConfig(
    "s3rec", d=4, blocks=1, max_length=5, dropout=0.0, item_stddev=0.5, attributes=("categories",), mask_rate=0.3
)
HISTORY = tf.constant([[0, 0, 1, 2, 3], [0, 4, 5, 6, 7], [0, 0, 0, 0, 0]])
TARGETS = tf.constant([[0, 1, 2, 3, 4], [4, 5, 6, 7, 1], [0, 0, 0, 0, 5]])
OFF = {"aap": 0.0, "mip": 0.0, "map": 0.0, "sp": 0.0}


@pytest.fixture(scope="module")
def recommender():
    found = Recommender(CONFIG, 8, seed=1, attributes=ATTRIBUTES)
    for task in ("aap", "mip", "map", "sp"):
        getattr(found.model, task).kernel.assign(tf.random.stateless_normal((4, 4), (1, 2)))
    found.dense.load(found.dense.variables, np.concatenate([v.numpy().ravel() for _, _, v in found.dense._places]))
    return found


def loss_of(recommender, **weights):
    objective = Pretraining(recommender, PretrainConfig(**{**OFF, **weights}))
    batch = objective.batch(HISTORY, TARGETS, tf.constant([1, 2]))
    with Step(tf.constant(1, tf.int64)) as step:
        loss, count = objective.loss(step, batch)
    assert int(count) == 10  # items of the sequences
    return float(loss) * 10, batch


def log_sigmoid(x):
    return -np.log1p(np.exp(-x))


def cross_entropy(scores, item):
    held = set(ATTRIBUTES.ids[item]) - {-1}
    return -sum(log_sigmoid(s if a in held else -s) for a, s in enumerate(scores))


def computed(recommender, inputs):
    """Items' vectors, attributes' vectors, and the outputs (4 B, L, d) of the inputs."""
    vectors, attributes = recommender.items.whole(), recommender.features.tables[0].whole()
    ids = tf.constant(inputs)
    x = recommender.model.hide(tf.gather(vectors, tf.maximum(ids, 0)), ids)
    return vectors.numpy(), attributes.numpy(), recommender.model.context(x, ids != 0).numpy()


def test_the_batch_hides_the_last_item_and_asks_for_what_is_hidden(recommender):
    _, batch = loss_of(recommender)
    hidden = batch.answers.numpy() > 0
    inputs = batch.inputs.numpy()[:3]
    assert hidden[:, -1].all() and (inputs[hidden] == MASKED).all()
    np.testing.assert_array_equal(np.where(hidden, batch.answers, inputs), TARGETS)
    negatives = batch.negatives.numpy()
    assert ((negatives > 0) == hidden).all()
    assert not any(set(n[n > 0]) & set(t) for n, t in zip(negatives, TARGETS.numpy(), strict=True))
    assert batch.size.numpy().tolist()[2] == 0


def test_an_items_attributes_are_predicted_from_its_vector(recommender):
    found, batch = loss_of(recommender, aap=1.0)
    vectors, attributes, _ = computed(recommender, batch.inputs.numpy())
    w = recommender.model.aap.kernel.numpy()
    seen = [i for i in batch.inputs.numpy()[:3].ravel() if i > 0]
    assert found == pytest.approx(sum(cross_entropy(vectors[i] @ w @ attributes.T, i) for i in seen), rel=1e-5)


def test_hidden_items_are_predicted_above_a_negative(recommender):
    found, batch = loss_of(recommender, mip=2.0)
    vectors, _, outputs = computed(recommender, batch.inputs.numpy())
    w, expected = recommender.model.mip.kernel.numpy(), 0.0
    for at in np.argwhere(batch.answers.numpy() > 0):
        difference = vectors[batch.answers[tuple(at)]] - vectors[batch.negatives[tuple(at)]]
        expected -= log_sigmoid(outputs[tuple(at)] @ w @ difference)
    assert found == pytest.approx(2 * expected, rel=1e-5)


def test_the_attributes_of_hidden_items_are_predicted(recommender):
    found, batch = loss_of(recommender, map=1.0)
    _, attributes, outputs = computed(recommender, batch.inputs.numpy())
    w = recommender.model.map.kernel.numpy()
    places = [tuple(at) for at in np.argwhere(batch.answers.numpy() > 0)]
    expected = sum(cross_entropy(outputs[at] @ w @ attributes.T, int(batch.answers[at])) for at in places)
    assert found == pytest.approx(expected, rel=1e-5)


def test_segments_are_predicted_above_others(recommender):
    found, batch = loss_of(recommender, sp=1.0)
    outputs = computed(recommender, batch.inputs.numpy())[-1][:, -1].reshape(4, 3, 4)
    w = recommender.model.sp.kernel.numpy()
    _, context, segment, other = outputs[:, :2]  # the third sequence has one item, and so no segment
    assert found == pytest.approx(-log_sigmoid(((context @ w) * (segment - other)).sum(axis=1)).sum(), rel=1e-5)


def test_the_tasks_add_up(recommender):
    alone = sum(loss_of(recommender, **{task: 0.5})[0] for task in OFF)
    assert loss_of(recommender, aap=0.5, mip=0.5, map=0.5, sp=0.5)[0] == pytest.approx(alone, rel=1e-5)


def test_all_that_is_read_was_told_before(recommender):
    objective = Pretraining(recommender, PretrainConfig())
    batch = objective.batch(HISTORY, TARGETS, tf.constant([1, 2]))
    touched = objective.touched([batch])
    assert touched[recommender.features.tables[0]] is None
    read = {*np.maximum(batch.inputs, 0).ravel(), *batch.answers.numpy().ravel(), *batch.negatives.numpy().ravel()}
    assert set(touched[recommender.items].numpy()) == read
