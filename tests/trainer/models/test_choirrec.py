"""ChoirRec as a whole: what moves what, its switches, and users without a group."""

from dataclasses import replace

import conversion_data
import numpy as np
import pytest
import tensorflow as tf

from trainer.requests.choir_config import ChoirConfig
from trainer.requests.config import RequestModelConfig, RequestTrainConfig
from trainer.requests.input import Requests
from trainer.requests.ranker import RequestRanker
from trainer.step import Step

CHOIR = ChoirConfig(codes=("group_1", "group_2"), reliability=(4,), distill_weight=0.5, margin=0.0, min_confidence=0.0,
                    min_purchases=1)  # fmt: skip
CONFIG = RequestTrainConfig(
    model=RequestModelConfig("choirrec", d=4, hidden=(8, 4), attention=(4,)), choir=CHOIR
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Requests(conversion_data.write(tmp_path_factory.mktemp("requests") / "r"))


@pytest.fixture(scope="module")
def rows(data):
    records = list(tf.data.TFRecordDataset([shard.file for shard in data.shards("train")]).take(40))
    return data.parse(tf.stack(records))


def ranker(data, **changes):
    return RequestRanker(replace(CONFIG, choir=replace(CHOIR, **changes)), data)


def moved(ranker, rows, loss):
    """By layer of the model whether a loss of its outputs moves it."""
    with Step(tf.constant(1, tf.int64)), tf.GradientTape() as tape:
        outputs = ranker.answer(rows)
        value = loss(outputs)
    layers = {name: layer for name, layer in vars(ranker.model).items() if hasattr(layer, "trainable_weights")}
    layers = {name: layer for name, layer in layers.items() if layer.trainable_weights}
    found = tape.gradient(value, {name: layer.trainable_weights for name, layer in layers.items()})
    return {name for name, each in found.items() if any(g is not None and np.abs(g).max() > 0 for g in each)}


def distillation(ranker, rows):
    """The loss less that of λ = 0."""

    def loss(outputs):
        whole = ranker.model.loss_of(outputs, rows)[0]
        return whole - tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(rows.labels, outputs.logits))

    return loss


GROUP = {"group_lower", "group_upper", "group_out", "group_id", "group_attention"}
OWN = {"lower", "upper", "out", "attention", "injection"}


def test_distillation_teaches_the_group_channel_alone(data, rows):
    one = ranker(data)
    assert moved(one, rows, distillation(one, rows)) == GROUP
    both = ranker(data, detach_teacher=False)
    assert moved(both, rows, distillation(both, rows)) == GROUP | OWN
    floored = ranker(data, floor=0.2)
    assert moved(floored, rows, distillation(floored, rows)) == GROUP | {"reliability"}


def test_the_group_channel_is_isolated_unless_asked(data, rows):
    assert moved(ranker(data), rows, lambda o: tf.reduce_sum(o.parts["own"])) == OWN
    open_ = ranker(data, detach_injected=False)
    found = moved(open_, rows, lambda o: tf.reduce_sum(o.parts["own"]))
    assert found == OWN | GROUP - {"group_upper", "group_out"}
    apart = ranker(data, inject=False)
    assert moved(apart, rows, lambda o: tf.reduce_sum(o.parts["own"])) == OWN - {"injection"}


def test_the_loss_and_the_fusion_are_eqs_10_to_12(data, rows):
    one = ranker(data, channel_weight=0.25)
    found = one.answer(rows)
    own, group, alpha = (found.parts[name].numpy() for name in ("own", "group", "distill"))
    fusion = found.told["fusion"].numpy()
    np.testing.assert_allclose(found.logits, (1 - fusion) * own + fusion * group, rtol=1e-5, atol=1e-6)
    labels = rows.labels.numpy()

    def bce(z):
        p = 1 / (1 + np.exp(-z.astype(float)))
        return -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()

    teaches = (found.parts["purchases"].numpy() >= 1) * np.ones_like(own)
    apart = (1 / (1 + np.exp(-own)) - 1 / (1 + np.exp(-group))) ** 2
    kd = (teaches * alpha * apart).sum() / teaches.sum()
    expected = bce(found.logits.numpy()) + 0.25 * (bce(own) + bce(group)) + 0.5 * kd
    loss, count, told = one.model.loss_of(found, rows)
    assert float(loss) == pytest.approx(expected, rel=1e-4) and int(count) == 40
    assert float(tf.reduce_mean(told["qualified"])) == pytest.approx(teaches.mean())
    assert float(told["loss/distillation"][0]) == pytest.approx(kd, rel=1e-4)


def test_a_missing_attribute_is_the_groups_in_the_individual_channel(data, rows):
    one, plain = ranker(data), ranker(data, complete=False)
    missing = rows.missing["age"].numpy()
    assert missing.any() and not missing.all()
    filled = one.model.prepared(rows).features
    np.testing.assert_array_equal(filled["age"], np.where(missing, rows.features["prior_age"], rows.features["age"]))
    gone = rows.missing["income"].numpy()
    np.testing.assert_array_equal(filled["income"].numpy()[gone], rows.features["prior_income"].numpy()[gone])
    np.testing.assert_array_equal(filled["prior_age"], rows.features["prior_age"])
    assert plain.model.prepared(rows).features == rows.features


def test_a_user_without_a_group_is_predicted(data, rows):
    features = dict(rows.features)
    for name in ("group_1", "group_2", "prior_age", "group_sequence"):
        features[name] = -tf.ones_like(features[name])
    features["prior_income"] = tf.zeros_like(features["prior_income"])
    found = ranker(data).answer(rows._replace(features=features))
    assert np.isfinite(found.logits).all() and np.isfinite(found.told["fusion"]).all()


ABLATED = {
    "group_id": ({"group_id": False}, {"group_1", "group_2"}),
    "group_attributes": ({"group_attributes": False}, {"prior_age", "prior_income"}),
    "group_behaviour": ({"group_behaviour": False}, {"group_sequence"}),
    "dual": ({"dual": False}, set()),
    "kl": ({"distill": "kl"}, set()),
}


@pytest.mark.parametrize("name", ABLATED)
def test_an_ablated_model_reads_what_is_left_and_learns(data, rows, name):
    settings, gone = ABLATED[name]
    one = ranker(data, **settings)
    read = {feature.name for feature in one.model.embeddings.read}
    whole = {feature.name for feature in ranker(data).model.embeddings.read}
    assert read == whole - gone and "skipped" not in read
    found = moved(one, rows, lambda outputs: one.model.loss_of(outputs, rows)[0])
    everything = {"lower", "upper", "out", "attention"}
    if settings.get("dual", True):
        everything |= GROUP | {"injection", "reliability"}
    else:
        everything |= {"group_id", "group_attention"}
    everything -= {"group_id"} if name == "group_id" else set()
    everything -= {"group_attention"} if name == "group_behaviour" else set()
    assert found == everything


def test_requests_without_a_feature_that_is_needed_are_told(data):
    with pytest.raises(ValueError, match="no feature 'visits'"):
        ranker(data, activity=("visits",))
    with pytest.raises(ValueError, match="at least two widths"):
        RequestRanker(replace(CONFIG, model=replace(CONFIG.model, hidden=(8,))), data)
