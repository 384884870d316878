"""Scores that gain the likeness of what is known of an item and of a user's."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as some

from trainer import export, likeness, saved, train
from trainer.attributes import Attributes
from trainer.config import CocoConfig, ExportConfig, ModelConfig, TrainConfig
from trainer.input import Examples, held_out
from trainer.models.coco import Knowledge
from trainer.recommender import Recommender

MODEL = ModelConfig(d=8, blocks=1, max_length=10, knowledge="item_text", knowledge_width=4, likeness=3.0)
KNOWN = np.array([[0, 0], [3, 4], [0, 2], [0, 0], [-1, 0]], np.float32)
HISTORY = np.array([[0, 0, 1, 2], [0, 1, 3, 4], [0, 0, 0, 3]])


def test_a_users_direction_is_that_of_their_items_the_newest_weighing_most():
    items = likeness.coordinates(KNOWN)
    np.testing.assert_allclose(items[1:], [[0.6, 0.8], [0, 1], [0, 0], [-1, 0]], rtol=1e-6)
    found = likeness.of_users(tf.constant(HISTORY), items)
    first = np.array([0.7 * 0.6, 0.7 * 0.8 + 1])
    second = np.array([0.49 * 0.6 - 1, 0.49 * 0.8])  # nothing is known of the item between
    expected = [first / np.linalg.norm(first), second / np.linalg.norm(second), [0, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(some.lists(some.integers(1, 4), max_size=6), some.integers(0, 3))
def test_padding_tells_nothing(items, more):
    known = likeness.coordinates(KNOWN)
    short = likeness.of_users(tf.constant([[0, *items]]), known)
    np.testing.assert_allclose(likeness.of_users(tf.constant([[0] * more + [0, *items]]), known), short, atol=1e-6)
    assert np.linalg.norm(short) < 1 + 1e-5


@pytest.mark.parametrize("kind", ["sasrec", "bert4rec", "fdsa"])
def test_a_score_gains_the_cosine_of_both_directions(kind):
    told = {"attributes": ("brand",)} if kind == "fdsa" else {}
    config = ModelConfig(kind, d=4, blocks=1, max_length=4, knowledge="item_text", likeness=3.0, **told)
    attributes = Attributes(np.zeros((5, 1), np.int32), 1) if told else None
    plain = Recommender(replace(config, knowledge="", likeness=0.0), 5, None, seed=2, attributes=attributes)
    likened = Recommender(config, 5, KNOWN, seed=2, attributes=attributes)
    assert [v.shape for v in plain.model.weights] == [v.shape for v in likened.model.weights]
    before, vectors = plain.scores(HISTORY, plain.pull()), likened.pull()
    items = likeness.coordinates(KNOWN).numpy()
    users = likeness.of_users(tf.constant(HISTORY), items).numpy()
    np.testing.assert_allclose(likened.scores(HISTORY, vectors), before + 3 * users @ items.T, rtol=1e-4, atol=1e-5)
    assert vectors.shape == (5, likened.width) and likened.width == plain.width + 2


def test_it_is_added_to_what_coco_made_of_the_user():
    coco = CocoConfig(enabled=True, codes=4, selected=2, width=6, knowledge_width=3, scale=0.5)
    config = ModelConfig(d=4, blocks=1, max_length=4, knowledge="item_text", likeness=3.0)
    plain = Recommender(replace(config, knowledge="", likeness=0.0), 5, None, seed=2, coco=coco)
    likened = Recommender(config, 5, KNOWN, seed=2, coco=coco)
    told = Knowledge(tf.random.normal((3, 2, 3), seed=1), tf.ones((3, 2), tf.bool))
    before, after = (each.embed(HISTORY, each.pull(), lambda *_: told) for each in (plain, likened))
    np.testing.assert_allclose(after[:, :4], before, rtol=1e-5)
    np.testing.assert_allclose(after[:, 4:], 3 * likeness.of_users(tf.constant(HISTORY), likeness.coordinates(KNOWN)))


@pytest.fixture(scope="module")
def trained(shop, knowledge, tmp_path_factory):
    """Models of the same training, ``ids`` without likeness and ``like`` with it."""
    folder = tmp_path_factory.mktemp("run") / "models"
    whole = TrainConfig(batch=16, epochs=2, model=MODEL)
    train.run(shop / "examples", knowledge, folder / "like", whole)
    ids = replace(whole, model=replace(MODEL, knowledge="", likeness=0.0))
    train.run(shop / "examples", None, folder / "ids", ids)
    return folder


def test_training_learns_the_same_and_validation_ranks_otherwise(trained):
    told = [json.loads((trained / name / "history.json").read_text())["epochs"] for name in ("like", "ids")]
    for with_it, without in zip(*told, strict=True):
        assert with_it["loss"] == pytest.approx(without["loss"], rel=1e-5)
        assert with_it["valid/ndcg@10"] != without["valid/ndcg@10"]


def test_served_scores_and_the_index_have_it(trained, shop, tmp_path):
    told = {}

    def keep(out, scoring):
        told["scoring"] = scoring
        return {"kind": "vectors"}

    settings = ExportConfig(top_k=5, warmup_requests=1, index_users=6)
    export.run(shop / "examples", trained / "like", tmp_path / "export", settings, keep)
    data = Examples(shop / "examples")
    recommender = saved.load(trained / "like", data).recommender
    rows, ids = next(held_out(data, "test", 10, 6)), data.vocabulary.ids
    expected = recommender.scores(rows.history, recommender.pull()).numpy()[:, 1:]
    history = tf.constant([[ids[i - 1] if i else "" for i in row] for row in rows.history])
    signatures = tf.saved_model.load(str(tmp_path / "export" / "1")).signatures
    found = signatures["score"](history=history, candidates=tf.constant([ids] * 6))["scores"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    scoring = told["scoring"]
    assert scoring.items.shape[1] == 8 + 4
    np.testing.assert_allclose(scoring.users @ scoring.items.T, expected, rtol=1e-4, atol=1e-5)


def test_it_may_follow_a_model_that_adds_knowledge_of_another_width(shop, knowledge, tmp_path):
    added = TrainConfig(batch=16, epochs=1, model=replace(MODEL, knowledge_width=6, likeness=0.0))
    train.run(shop / "examples", knowledge, tmp_path / "added", added)
    after = replace(added, model=MODEL, start_from=str(tmp_path / "added"))
    train.run(shop / "examples", knowledge, tmp_path / "after", after)
    assert saved.load(tmp_path / "after", Examples(shop / "examples")).recommender.width == 8 + 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"likeness": -1.0, "knowledge": "item_text"}, "likeness must be at least 0"),
        ({"likeness": 1.0}, "knowledge must be set with likeness"),
        ({"likeness": 1.0, "knowledge": "kar", "knowledge_start": 0.5}, "knowledge_start must be 0 with likeness"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**settings)


def test_experts_need_knowledge_in_items_vectors():
    coco = CocoConfig(enabled=True, source="kar", adapter="experts", fusion="concat")
    with pytest.raises(ValueError, match="model.likeness must be 0 with coco.adapter 'experts'"):
        TrainConfig(coco=coco, model=replace(MODEL, knowledge="kar", knowledge_width=0))
