"""The models that ChoirRec is compared with: each learns, and each does what its paper adds to the base."""

from dataclasses import replace

import conversion_data
import numpy as np
import pytest
import tensorflow as tf

from trainer.models import REQUEST_MODELS
from trainer.requests.choir_config import ChoirConfig
from trainer.requests.config import KINDS, RequestModelConfig, RequestTrainConfig, SparseConfig
from trainer.requests.input import Requests
from trainer.requests.ranker import RequestRanker

CONFIG = RequestTrainConfig(
    model=RequestModelConfig(d=4, hidden=(8, 4), attention=(4,), exclude=("group_*", "prior_*")),
    choir=ChoirConfig(codes=("group_1", "group_2"), reliability=(4,)),
    sparse=SparseConfig(few=1, memory=3, nearest=2),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Requests(conversion_data.write(tmp_path_factory.mktemp("requests") / "r"))


@pytest.fixture(scope="module")
def rows(data):
    records = list(tf.data.TFRecordDataset([shard.file for shard in data.shards("train")]).take(40))
    return data.parse(tf.stack(records))


def ranker(data, kind, **changes):
    return RequestRanker(replace(CONFIG, model=replace(CONFIG.model, kind=kind), **changes), data)


def test_every_kind_has_a_model():
    assert set(REQUEST_MODELS) == set(KINDS)


@pytest.mark.parametrize("kind", ["base", "cold_transformer", "melt", "poso", "uie"])
def test_every_weight_of_a_model_is_moved_by_its_loss(data, rows, kind):
    one = ranker(data, kind)
    assert not [f.name for f in one.model.embeddings.read if f.name.startswith(("group_", "prior_"))]
    weights = one.model.trainable_weights
    for _ in range(2):  # what a bias of 0 hides, the second step shows
        with tf.GradientTape() as tape:
            loss, count, _ = one.model.loss_of(one.answer(rows), rows)
        found = tape.gradient(loss, weights)
        for weight, gradient in zip(weights, found, strict=True):
            weight.assign_sub(0.1 * tf.convert_to_tensor(gradient))
    assert int(count) == 40 and np.isfinite(loss)
    still = [w.name for w, g in zip(weights, found, strict=True) if not np.abs(tf.convert_to_tensor(g)).max() > 0]
    # The bias of a key changes no softmax.
    assert [name for name in still if not (kind == "cold_transformer" and "bias" in name)] == []


def test_poso_with_open_gates_is_the_base(data, rows):
    base, poso = ranker(data, "base"), ranker(data, "poso")
    for gate in poso.model.gates:
        for layer in gate.layers_:
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    for one, other in zip((*base.model.network.layers_, base.model.out), (*poso.model.layers_, poso.model.out),
                          strict=True):  # fmt: skip
        other.set_weights(one.get_weights())
    for one, other in zip(base.model.attention, poso.model.attention, strict=True):
        other.set_weights(one.get_weights())
    np.testing.assert_allclose(poso.answer(rows).logits, base.answer(rows).logits, rtol=1e-4, atol=1e-6)


def test_melt_enhances_users_of_the_tail_alone_and_learns_from_the_others(data, rows):
    one = ranker(data, "melt")
    purchases = (rows.features["bought"].numpy() >= 0).sum(1)
    before = one.answer(rows)
    weights = before.parts["branch"].numpy()[:, 0]
    assert (weights[purchases <= 1] == 0).all() and (weights[purchases > 1] > 0).any()
    for layer in one.model.branch.layers_:
        layer.bias.assign(layer.bias + 1)
    moved = np.abs(one.answer(rows).logits - before.logits)[:, 0] > 1e-7
    assert not moved[purchases > 1].any() and moved[purchases <= 1].any()
