"""The chatbot's rankers as wholes: Eq. 4, what is missing, and candidates that are few or all."""

from dataclasses import replace

import chat_model as trained_model
import chat_requests
import numpy as np
import pytest
import request_cluster
import tensorflow as tf
from trained import parameters

from trainer import train
from trainer.layers.request_embeddings import RequestEmbeddings
from trainer.requests.config import RequestModelConfig, RequestTrainConfig
from trainer.requests.input import Requests
from trainer.requests.ranker import RequestRanker
from trainer.requests.tower_config import TowerConfig
from trainer.step import Step

TOWERS = TowerConfig(width=4, temperature=0.5)
CONFIG = RequestTrainConfig(model=RequestModelConfig("qe_rec", d=4, hidden=(8,), stddev=0.5), towers=TOWERS)
BASELINE = replace(CONFIG, model=replace(CONFIG.model, kind="two_towers"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Requests(chat_requests.write(tmp_path_factory.mktemp("requests") / "r", train=40))


@pytest.fixture(scope="module")
def rows(data):
    return parsed(data)


def parsed(data):
    return data.parse(tf.stack(list(tf.data.TFRecordDataset([shard.file for shard in data.shards("train")]))))


@pytest.fixture(scope="module")
def ranker(data):
    return RequestRanker(CONFIG, data)


def test_all_intents_are_candidates_and_those_named_have_the_labels(data, rows):
    assert rows.candidates.shape == rows.labels.shape == (40, 6)
    assert rows.candidates[3].numpy().tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(tf.reduce_sum(rows.labels, axis=1), np.ones(40))
    wanted = [row["candidates"][0] for row in chat_requests.rows(40, 0).to_pylist()]
    assert sorted(data.items.ids[i] for i in tf.argmax(rows.labels, axis=1).numpy()) == sorted(wanted)


def test_intents_are_looked_up_once_and_are_the_candidates_vectors(data, rows, ranker):
    alone = RequestEmbeddings(data, 4, [feature.name for feature in ranker.model.embeddings.read])
    first = ranker.model.embeddings._first
    with Step(tf.constant(0, tf.int64)) as step:
        asked = {table: tf.where(ids >= 0, ids + first[table], -1) for table, ids in alone.ids(rows).items()}
        vectors = {table: ranker.features.lookup(step, {"ids": ids})["ids"] for table, ids in asked.items()}
        each = alone.embedded(vectors, rows)
        once = ranker.model.embeddings.embedded(
            ranker.features.lookup(step, ranker.model.embeddings.ids(rows)), rows
        )
    np.testing.assert_array_equal(once.candidates[0], each.candidates[7])
    for name in each.items:
        np.testing.assert_array_equal(once.items[name], each.items[name])
    for name in each.sequences:
        np.testing.assert_array_equal(once.sequences[name], each.sequences[name])
    for name in each.single:
        np.testing.assert_array_equal(once.single[name], each.single[name])


def test_a_score_is_the_weighted_sum_of_both_cosines_over_the_temperature(ranker):
    user, intents = tf.constant([[1.0, 0.0]]), tf.constant([[1.0, 0.0], [0.6, 0.8]])
    logits, by_user, by_query = ranker.model.similar(user, intents, tf.constant([[0.0, 1.0]]))
    np.testing.assert_allclose(by_user, [[1.0, 0.6]])
    np.testing.assert_allclose(by_query, [[0.0, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(logits, [[0.7 / 0.5, (0.7 * 0.6 + 0.3 * 0.8) / 0.5]], rtol=1e-6)
    logits, *_ = ranker.model.similar(user, intents, tf.constant([[0.0, 0.0]]))
    np.testing.assert_allclose(logits, [[0.7 / 0.5, 0.7 * 0.6 / 0.5]], rtol=1e-6)


def test_without_a_query_its_term_is_zero_and_the_rest_is_as_it_was(ranker, rows):
    told = ranker.answer(rows)
    none = rows._replace(features={**rows.features, "query": tf.zeros_like(rows.features["query"])})
    without = ranker.answer(none)
    missing = ~tf.reduce_any(rows.features["query"] != 0, axis=1).numpy()
    assert 0 < missing.sum() < 40
    np.testing.assert_array_equal(without.told["intent_query"], np.zeros((40, 6)))
    np.testing.assert_array_equal(without.told["user_intent"], told.told["user_intent"])
    np.testing.assert_array_equal(told.told["intent_query"][missing], np.zeros((missing.sum(), 6)))
    assert np.abs(told.told["intent_query"][~missing]).min() > 0
    np.testing.assert_allclose(without.logits, 0.7 * without.told["user_intent"] / 0.5, rtol=1e-5)


def test_the_query_is_withheld_from_a_share_of_the_training_sessions(data, rows):
    often = RequestRanker(replace(CONFIG, towers=replace(TOWERS, query_dropout=0.5)), data)
    with Step(tf.constant(0, tf.int64)) as step:
        vectors = often.features.lookup(step, often.model.embeddings.ids(rows))
    parts = often.model.embeddings.embedded(vectors, rows)
    given = np.abs(often.model.queries(parts, None)).sum(1) > 0
    kept = np.abs(often.model.queries(parts, tf.constant([1, 2]))).sum(1) > 0
    assert 0 < (given & ~kept).sum() < given.sum()
    assert not (kept & ~given).any()


@pytest.mark.parametrize("config", [CONFIG, BASELINE])
def test_few_candidates_have_the_scores_that_they_have_among_all(data, rows, config):
    made = RequestRanker(config, data)
    whole = made.answer(rows).logits.numpy()
    few = tf.constant([[5, 0, -1]] * 40)
    some = rows._replace(candidates=few, present=few >= 0, labels=tf.zeros((40, 3)))
    found = made.answer(some).logits.numpy()
    np.testing.assert_allclose(found[:, :2], whole[:, [5, 0]], rtol=1e-5)
    np.testing.assert_allclose(found[:, 2], whole.min(1), rtol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, BASELINE])
def test_every_weight_learns(data, rows, config):
    made = RequestRanker(replace(config, towers=replace(TOWERS, entropy_floor=0.5)), data)
    with Step(tf.constant(1, tf.int64)), tf.GradientTape() as tape:
        outputs = made.model(_parts(made, rows), rows, tf.constant([3, 4]))
        loss, count, told = made.model.loss_of(outputs, rows)
    assert int(count) == 40
    assert float(tf.reduce_mean(outputs.parts["weights"])) == pytest.approx(1.0, rel=1e-5)
    assert 0.5 <= float(told["confidence_entropy"][0]) <= 1.0001
    weights = made.model.trainable_variables
    still = [w.name for w, g in zip(weights, tape.gradient(loss, weights), strict=True) if g is None]
    assert still == []


def test_the_baseline_reads_no_query(data):
    made = RequestRanker(BASELINE, data)
    assert "query" not in [feature.name for feature in made.model.embeddings.read]
    assert set(made.answer(parsed(data)).told) == {"user_intent"}


def test_without_text_an_intent_is_its_id_and_its_category(data, rows):
    for config in (CONFIG, BASELINE):
        blind = RequestRanker(replace(config, towers=replace(TOWERS, intent_text=False)), data)
        parts = _parts(blind, rows)
        other = parts._replace(candidates=tf.concat([parts.candidates[..., :-5], parts.candidates[..., -5:] + 9], -1))
        np.testing.assert_array_equal(blind.model(parts, rows).logits, blind.model(other, rows).logits)


def test_both_intent_towers_read_the_whole_text(data, rows):
    """Of d = 1 a text that is squeezed to d numbers could move them along one line alone."""
    for config in (CONFIG, BASELINE):
        one = replace(config, model=replace(config.model, d=1), towers=replace(TOWERS, heads=1))
        made = RequestRanker(one, data)
        told = _parts(made, rows).candidates[0]
        moved = [told + tf.constant([[0.0] * (told.shape[1] - 5) + [float(n == k) for n in range(5)]])
                 for k in range(5)]  # fmt: skip
        each = np.stack([(made.model.intents(x, None) - made.model.intents(told, None))[0] for x in moved])
        assert np.linalg.matrix_rank(each, tol=1e-4) > 1


def test_numbers_of_the_query_s_vector_are_dropped_in_training(data, rows):
    made = RequestRanker(replace(CONFIG, towers=replace(TOWERS, vector_dropout=0.5)), data)
    parts, plain = _parts(made, rows), RequestRanker(CONFIG, data)
    np.testing.assert_array_equal(made.model.queries(parts, None), plain.model.queries(parts, None))
    drawn = [made.model.queries(parts, tf.constant([1, seed])).numpy() for seed in range(200)]
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1
    whole = made.model.queries(parts, None).numpy()
    assert np.abs(np.mean(drawn, axis=0) - whole).max() < 0.3 * np.abs(whole).max()


@pytest.mark.slow
def test_on_a_cluster_both_rankers_are_trained_as_in_one_process(repository, chat_model, tmp_path):
    requests, _ = chat_model
    configs = [replace(trained_model.CONFIG, model=replace(trained_model.CONFIG.model, kind=kind, dropout=0.0))
               for kind in ("qe_rec", "two_towers")]  # fmt: skip
    told = request_cluster.trained(repository, requests, tmp_path, configs)
    for number, config in enumerate(configs):
        alone = tmp_path / "alone" / config.model.kind
        summary = train.run(requests, None, alone, config)
        expected = parameters(alone)
        for mode, there in zip(("on", "off"), told[2 * number :], strict=False):
            assert there[-1] == pytest.approx(summary["valid_ndcg@3"], abs=2e-3)
            found = parameters(tmp_path / mode / config.model.kind)
            assert found.keys() == expected.keys()
            for name in expected:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-4, err_msg=f"{mode} {name}")


def _parts(made, rows):
    with Step(tf.constant(0, tf.int64)) as step:
        return made.model.embeddings.embedded(
            made.features.lookup(step, made.model.embeddings.ids(rows)), rows
        )
