import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from trainer import export, saved, train
from trainer.config import ExportConfig, ModelConfig, TrainConfig
from trainer.input import Examples, held_out

CONFIG = TrainConfig(batch=16, epochs=1, model=ModelConfig(d=8, blocks=1, max_length=10))


@pytest.fixture(scope="module")
def exported(shop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model = folder / "models" / "ids"
    train.run(shop / "examples", None, model, CONFIG)
    settings = ExportConfig(top_k=5, warmup_requests=2, index_users=5)
    export.run(shop / "examples", model, folder / "export" / "ids", settings)
    export.run(shop / "examples", model, folder / "export" / "ids", settings, keep_vectors)
    return folder


def keep_vectors(out, scoring):
    out.mkdir()
    np.savez(out / "vectors.npz", ids=scoring.ids, items=scoring.items, users=scoring.users)
    return {"kind": "vectors"}


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported / "export" / "ids" / "1")).signatures


def ask(signatures, name, **inputs):
    outputs = signatures[name](**{key: tf.constant(value, tf.string) for key, value in inputs.items()})
    return {key: value.numpy() for key, value in outputs.items()}


def test_served_scores_equal_the_trainers(shop, exported, signatures):
    examples = Examples(shop / "examples")
    recommender = saved.load(exported / "models" / "ids", examples).recommender
    rows = next(held_out(examples, "test", 10, 8))
    expected = recommender.scores(rows.history, recommender.pull())
    ids = examples.vocabulary.ids
    history = [[ids[i - 1] if i else "" for i in row] for row in rows.history]
    found = ask(signatures, "score", history=history, candidates=[ids] * len(history))["scores"]
    np.testing.assert_allclose(found, expected[:, 1:], rtol=1e-4, atol=1e-5)


def test_the_top_items_are_the_best_scored_that_the_history_does_not_hold(shop, signatures):
    ids = Examples(shop / "examples").vocabulary.ids
    history = [ids[3], ids[7]]
    best = ask(signatures, "serving_default", history=[history])
    scores = ask(signatures, "score", history=[history], candidates=[ids])["scores"][0]
    order = [ids[i] for i in np.argsort(-scores, kind="stable") if ids[i] not in history]
    assert [item.decode() for item in best["items"][0]] == order[:5]


def test_padding_and_unknown_ids_change_nothing(shop, signatures):
    ids = Examples(shop / "examples").vocabulary.ids
    plain = ask(signatures, "embed_user", history=[[ids[0], ids[1]]])["embedding"]
    for history in (["", ids[0], ids[1]], [ids[0], "no such item", ids[1], ""]):
        np.testing.assert_allclose(ask(signatures, "embed_user", history=[history])["embedding"], plain, rtol=1e-5)


def test_an_empty_history_and_an_unknown_candidate_are_answered(signatures):
    assert len(ask(signatures, "serving_default", history=[[""]])["items"][0]) == 5
    scores = ask(signatures, "score", history=[[""]], candidates=[["no such item"]])["scores"]
    assert scores[0, 0] == np.finfo(np.float32).min


def test_a_history_longer_than_the_model_reads_keeps_its_newest(shop, signatures):
    ids = Examples(shop / "examples").vocabulary.ids
    long = ask(signatures, "embed_user", history=[ids[:25]])["embedding"]
    np.testing.assert_allclose(long, ask(signatures, "embed_user", history=[ids[15:25]])["embedding"], rtol=1e-5)


def test_when_all_but_two_items_were_seen_two_are_left(shop, signatures):
    ids = Examples(shop / "examples").vocabulary.ids
    items = ask(signatures, "serving_default", history=[ids[2:]])["items"][0].tolist()
    assert sorted(items, reverse=True)[:2] == sorted((i.encode() for i in ids[:2]), reverse=True)
    assert items[2:] == [b"", b"", b""]


def test_versions_count_up_and_name_their_parent(exported):
    versions = sorted(p.name for p in (exported / "export" / "ids").iterdir())
    assert versions == ["1", "2"]
    manifest = json.loads((exported / "export" / "ids" / "2" / "assets.extra" / "manifest.json").read_text())
    assert (manifest["version"], manifest["parent_version"]) == (2, 1)
    assert manifest["config"]["batch"] == 16


def test_an_index_is_made_of_what_the_version_scores_with(shop, exported, signatures):
    version = exported / "export" / "ids" / "2" / "assets.extra"
    assert json.loads((version / "manifest.json").read_text())["index"] == {"kind": "vectors"}
    assert json.loads((version.parents[1] / "1" / "assets.extra" / "manifest.json").read_text())["index"] is None
    kept = np.load(version / "index" / "vectors.npz")
    ids = Examples(shop / "examples").vocabulary.ids
    assert (kept["ids"].tolist(), kept["users"].shape) == (ids, (5, 8))
    rows = next(held_out(Examples(shop / "examples"), "test", 10, 5))
    history = [[ids[i - 1] if i else "" for i in row] for row in rows.history]
    scores = ask(signatures, "score", history=history, candidates=[ids] * 5)["scores"]
    np.testing.assert_allclose(kept["users"] @ kept["items"].T, scores, rtol=1e-4, atol=1e-5)


def test_warmup_requests_are_answered_by_the_model(exported, signatures):
    path = exported / "export" / "ids" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    assert len(logs) == 2
    for log in logs:
        request = log.predict_log.request
        assert request.model_spec.name == "ids"
        history = tf.make_ndarray(request.inputs["history"])
        assert ask(signatures, request.model_spec.signature_name, history=history)["items"].shape == (1, 5)
