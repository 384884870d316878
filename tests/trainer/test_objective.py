import numpy as np
import pytest
import tensorflow as tf

from trainer import optimizers
from trainer.attributes import Attributes
from trainer.config import LossConfig, ModelConfig, OptimizerConfig
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


def test_mixed_negatives_are_corrected_for_how_often_both_kinds_draw_them():
    recommender = Recommender(ModelConfig(d=8, blocks=1, max_length=6, dropout=0.0, item_stddev=0.5), 10, seed=1)
    objective = Prediction(recommender, LossConfig("mixed", negatives=4), POPULARITY)
    batch = objective.batch(HISTORY, TARGETS, tf.constant([1, 2]))
    with Step(tf.constant(1, tf.int64)) as step:
        found, _ = objective.loss(step, batch)
    negatives = batch.negatives.numpy()
    assert len(negatives) == 8 and set(negatives[:4]) <= set(TARGETS.numpy()[HISTORY > 0])
    vectors = recommender.pull().numpy()
    h = recommender.model(tf.gather(vectors, HISTORY), HISTORY > 0).numpy()[HISTORY > 0]
    share = np.arange(1, 11) / np.arange(2, 11).sum()  # add-one smoothed
    log_q, each = np.log(4 * share + 4 / 9), []
    for vector, target in zip(h, TARGETS.numpy()[HISTORY > 0], strict=True):
        among = [target, *(i for i in negatives if i != target)]
        logits = vectors[among] @ vector - log_q[among]
        each.append(np.log(np.exp(logits).sum()) - logits[0])
    assert float(found) == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("kind", ["sampled_softmax", "mixed"])
def test_what_a_user_has_met_by_then_is_no_negative_where_the_loss_or_its_caller_says_so(kind, everywhere):
    """The caller says it of the last positions."""
    recommender = Recommender(ModelConfig(d=8, blocks=1, max_length=6, dropout=0.0, item_stddev=0.5), 10, seed=1)
    objective = Prediction(recommender, LossConfig(kind, negatives=8, exclude_seen=everywhere), POPULARITY)
    batch = objective.batch(HISTORY, TARGETS, tf.constant([1, 2]))
    with Step(tf.constant(1, tf.int64)) as step:
        read = objective.read(step, batch)
        with step.weights(recommender.dense):
            asked = objective.outputs(read, batch)
        asked = asked.at(asked.target > 0)
        found = objective.mean(read, batch, asked, None if everywhere else asked.column == 5)
    vectors, negatives = recommender.pull().numpy(), batch.negatives.numpy()
    h = recommender.model(tf.gather(vectors, HISTORY), HISTORY > 0).numpy()
    log_q, each = objective._log_q().numpy(), []
    for row, column in zip(*np.nonzero(HISTORY.numpy()), strict=True):
        met = set(HISTORY.numpy()[row, : column + 1]) if everywhere or column == 5 else set()
        target = TARGETS.numpy()[row, column]
        among = [target, *(i for i in negatives if i != target and i not in met)]
        logits = vectors[among] @ h[row, column] - log_q[among]
        each.append(np.log(np.exp(logits).sum()) - logits[0])
    assert set(negatives) & {1, 2, 3, 5}  # some are left out
    assert float(found) == pytest.approx(np.mean(each), rel=1e-5)


def test_only_losses_that_draw_negatives_can_leave_out_what_was_met():
    rule = "kind with exclude_seen must be one of 'sampled_softmax', 'mixed', received 'softmax'"
    with pytest.raises(ValueError, match=rule):
        LossConfig("softmax", exclude_seen=True)


BACKBONES = {
    "sasrec": {}, "bert4rec": {"norm": "post"}, "pinnerformer": {"temperature": 0.2},
    "fdsa": {"attributes": ("categories",)}, "s3rec": {"attributes": ("categories",)},
}  # fmt: skip
ATTRIBUTES = Attributes(np.array([[-1, -1], *([i % 3, -1] for i in range(9))], np.int32), 4)


@pytest.mark.parametrize("kind", ["softmax", "sampled_softmax", "mixed", "in_batch", "bce"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_reads_no_row_it_did_not_tell_of(backbone, kind):
    """Told so, a working set holds just these rows; others would be read from where they do not lie."""
    config = ModelConfig(backbone, d=8, blocks=1, max_length=6, item_stddev=0.05, **BACKBONES[backbone])
    attributes = ATTRIBUTES if config.attributes else None
    recommender = Recommender(config, 10, np.ones((10, 3), np.float32), seed=1, attributes=attributes)
    objective = Prediction(recommender, LossConfig(kind, negatives=4), POPULARITY)
    optimizer = optimizers.build(OptimizerConfig("adagrad", 0.1))
    recommender.add_slots(optimizer)
    batch = objective.batch(HISTORY, TARGETS, tf.constant([1, 2]))
    touched = objective.touched([batch])
    read: dict[str, set[int]] = {}

    class Watched(Step):
        def rows(self, table, *ids):
            unique, rows, places = super().rows(table, *ids)
            read.setdefault(table.name, set()).update(unique.numpy().tolist())
            return unique, rows, places

        def whole(self, table):
            read[table.name] = set(range(table.rows))
            return super().whole(table)

    with Watched(tf.constant(1, tf.int64)) as step:
        loss, count = objective.loss(step, batch)
    assert int(count) == np.count_nonzero(batch.targets) > 0 and np.isfinite(loss)
    told = {table.name: set(range(table.rows) if ids is None else ids.numpy()) for table, ids in touched.items()}
    assert told == read
    before = recommender.features.tables[0].whole().numpy() if attributes else None
    step.update(loss, optimizer)
    if backbone == "fdsa":  # attribute 3 is no item's
        moved = (recommender.features.tables[0].whole().numpy() != before).any(axis=1)
        assert moved.tolist() == [True, True, True, False]


def test_every_loss_of_one_batch_is_the_same_on_any_number_of_shards():
    for kind in ("softmax", "bce"):
        one = loss_of(Recommender(CONFIG, 10, seed=1), kind)
        three = loss_of(Recommender(CONFIG, 10, devices=(None, None, None), seed=1), kind)
        assert one[0] == pytest.approx(three[0], rel=1e-6)
