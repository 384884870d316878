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


@pytest.fixture
def read(data, rows, monkeypatch):
    """What the network above the features reads (n, C, ·), and the outputs."""

    def read(one):
        seen = []
        monkeypatch.setattr(one.model, "logits", lambda x, _: seen.append(x.numpy()) or tf.zeros(x.shape[:2]))
        outputs = one.answer(rows)
        return seen[0], outputs

    return read


def assign(layer, **weights):
    """Zeros to a layer's weights, but for those that are given."""
    for weight in layer.weights:
        weight.assign(tf.zeros_like(weight))
    for name, value in weights.items():
        getattr(layer, name).assign(value)


def test_a_cold_transformer_that_adapts_nothing_is_the_base(data, rows):
    base, cold = ranker(data, "base"), ranker(data, "cold_transformer")
    assign(cold.model.adapt)
    for one, other in zip((base.model.network, base.model.out, *base.model.attention),
                          (cold.model.network, cold.model.out, *cold.model.attention), strict=True):  # fmt: skip
        other.set_weights(one.get_weights())
    np.testing.assert_allclose(cold.answer(rows).logits, base.answer(rows).logits, rtol=1e-4, atol=1e-6)


def test_a_cold_transformer_adapts_a_user_by_what_it_bought_and_what_it_skipped(data, rows, read):
    cold = ranker(data, "cold_transformer")
    rest = cold.model.rest
    assign(cold.model.enter)
    cold.model.label.assign([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    for block in cold.model.blocks:
        assign(block)  # each adds nothing
    assign(cold.model.adapt)
    before, _ = read(cold)
    assign(cold.model.adapt, kernel=np.eye(4 + rest, rest) * (np.arange(rest) < 4))  # the context, in four places
    after, _ = read(cold)
    bought, skipped = ((rows.features[name].numpy() >= 0).sum(1) for name in ("bought", "skipped"))
    assert {0, 1, 5} <= {*bought} and {*skipped} == {1}
    added = (after - before)[:, 0, -rest:]
    np.testing.assert_allclose(added[:, 0], bought / (bought + 1), atol=1e-6)
    np.testing.assert_allclose(added[:, 1], 1 / (bought + 1), atol=1e-6)
    assert not added[:, 2:].any() and (after[..., :-rest] == before[..., :-rest]).all()


def test_uie_with_an_empty_memory_is_the_base(data, rows):
    base, uie = ranker(data, "base"), ranker(data, "uie")
    for layer in (*uie.model.memories, *uie.model.personal):
        assign(layer)
    first, *others = base.model.network.layers_
    kernel = np.concatenate([first.kernel, np.ones((4 * 4, first.units), np.float32)])
    assign(uie.model.network.layers_[0], kernel=kernel, bias=first.bias)
    same = (*uie.model.network.layers_[1:], uie.model.out, *uie.model.attention)
    for one, other in zip((*others, base.model.out, *base.model.attention), same, strict=True):
        other.set_weights(one.get_weights())
    np.testing.assert_allclose(uie.answer(rows).logits, base.answer(rows).logits, rtol=1e-4, atol=1e-6)


def test_uie_tells_of_the_centroids_nearest_to_a_user_and_moves_the_nearest(data, rows, read):
    uie = ranker(data, "uie")
    for enter, memory, personal in zip(uie.model.enter, uie.model.memories, uie.model.personal, strict=True):
        assign(enter.layers_[0], bias=[1.0, 1, 0, 0])  # every user asks that
        memory.centroids.assign([[1.0, 0, 0, 0], [0, 2.0, 0, 0], [-1.0, -1, 0, 0]])
        assign(personal.layers_[0], kernel=np.eye(8, 4))  # of the mix alone
    features, outputs = read(uie)
    far, near = np.exp([1.0, 2.0]) / np.exp([1.0, 2.0]).sum()  # of the inner products 1, 2, -2 the two that count
    mixed = np.array([far, 2 * near, 0, 0])
    expected = np.tile(np.concatenate([mixed, np.tanh(mixed)]), 2)
    np.testing.assert_allclose(features[..., -16:], np.broadcast_to(expected, (*features.shape[:2], 16)), rtol=1e-5)
    loss, _, told = uie.model.loss_of(outputs, rows)
    np.testing.assert_allclose(told["loss/clusters"], [2.0], rtol=1e-6)  # 1 in each memory, to the first centroid
    np.testing.assert_allclose(loss, np.log(2) + CONFIG.sparse.weight * 2, rtol=1e-6)
