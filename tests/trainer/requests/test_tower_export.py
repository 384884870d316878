import json

import chat_requests
import numpy as np
import pytest
import tensorflow as tf

from feature_store import folders
from feature_store.request_inputs import array
from trainer.config import ExportConfig
from trainer.requests import saved as request_saved
from trainer.requests import tower_export
from trainer.requests.input import Requests


@pytest.fixture(scope="module")
def exported(chat_model, tmp_path_factory):
    requests, model = chat_model
    out = tmp_path_factory.mktemp("export") / "qe_rec"
    summary = tower_export.run(requests, model, out, ExportConfig(top_k=3, warmup_requests=2))
    return summary, tf.saved_model.load(summary["path"])


@pytest.fixture(scope="module")
def asked(chat_model):
    """Raw inputs of ten test sessions, and the model's own answers."""
    data = Requests(chat_model[0])
    records = tf.stack(list(tf.data.TFRecordDataset([s.file for s in data.shards("test")]).take(10)))
    ranker = request_saved.load(chat_model[1], data).ranker
    ranker.dense.pull()
    answers = ranker.answer(data.parse(records))
    features = {feature.name: feature for feature in data.raw}
    rows = {row["request_id"]: row for row in chat_requests.rows(60, 2).to_pylist()}
    names = [tf.io.parse_example(record, {"request_id": tf.io.FixedLenFeature((), tf.string)})["request_id"]
             for record in records]  # fmt: skip
    inputs = []
    for name in names:
        row = rows[name.numpy().decode()]
        row["query"] = row["query"] or [float("nan")] * chat_requests.QUERY
        inputs.append({key: tf.constant(array(row[key], feature)) for key, feature in features.items()})
    return inputs, answers, data


def test_raw_features_get_the_model_s_own_answers(exported, asked):
    inputs, answers, data = asked
    rank = exported[1].signatures["rank"]
    for row, each in enumerate(inputs):
        found = rank(**each)
        order = np.argsort(-answers.logits[row].numpy(), kind="stable")[:3]
        assert [name.decode() for name in found["intents"][0].numpy()] == [data.items.ids[i] for i in order]
        np.testing.assert_allclose(found["scores"][0], answers.logits[row].numpy()[order], rtol=1e-4)
        for name in ("user_intent", "intent_query"):
            np.testing.assert_allclose(found[name][0], answers.told[name][row].numpy()[order], atol=1e-5)


def test_without_the_query_the_answer_is_that_of_no_query(exported, asked):
    inputs, _, _ = asked
    with_none, without = exported[1].signatures["rank"], exported[1].signatures["rank_without_query"]
    for each in inputs[:4]:
        rest = {name: value for name, value in each.items() if name != "query"}
        expected = with_none(**rest, query=tf.constant([[float("nan")] * chat_requests.QUERY]))
        found = without(**rest)
        np.testing.assert_array_equal(found["intents"], expected["intents"])
        np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-5)
        np.testing.assert_array_equal(found["intent_query"], np.zeros((1, 3)))


def test_the_index_of_intents_is_of_the_version_and_of_length_1(exported):
    summary, served = exported
    folder = tower_export.Path(summary["path"]) / "assets.extra" / tower_export.INDEX
    manifest = folders.read_manifest_of("intent_index", folder, "vectors of intents")
    assert (manifest["model"], manifest["version"], manifest["width"]) == ("qe_rec", 1, 8)
    assert json.loads((folder / "ids.json").read_text()) == chat_requests.INTENTS
    vectors = np.load(folder / "vectors.npy")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(6), rtol=1e-5)
    np.testing.assert_array_equal(vectors, served.vectors)  # what is served looks intents up in the same
    told = json.loads((folder.parent / "manifest.json").read_text())
    assert told["signatures"] == ["rank", "rank_without_query", "serving_default"]
    assert told["query"] == {"width": 4, "model_id": "m", "adapter_version": "base"}
    assert (folder.parent / "tf_serving_warmup_requests").stat().st_size > 0
