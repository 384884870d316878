"""A model of conversions from its training to what is served: judged by activity, calibrated, exported."""

import json
from dataclasses import asdict

import conversion_data
import numpy as np
import pytest
import tensorflow as tf

from feature_store import requests as request_files
from trainer import train
from trainer.cluster.strategy import InProcess
from trainer.config import ExportConfig
from trainer.export_folder import WARMUP
from trainer.requests import evaluate as request_evaluate
from trainer.requests import export as request_export
from trainer.requests import saved as request_saved
from trainer.requests.choir_config import ChoirConfig
from trainer.requests.config import RequestEvaluateConfig, RequestModelConfig, RequestTrainConfig
from trainer.requests.input import Requests
from trainer.requests.scores import RequestScores

CONFIG = RequestTrainConfig(
    batch=32, epochs=2, steps_per_schedule=10, validate_every=2, select="auc",
    model=RequestModelConfig("choirrec", d=4, hidden=(8, 4), attention=(4,)),
    choir=ChoirConfig(codes=("group_1", "group_2"), reliability=(4,)),
)  # fmt: skip
EVALUATE = RequestEvaluateConfig(bootstrap=50, batch=64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    requests = conversion_data.write(folder / "requests")
    train.run(requests, None, folder / "models" / "choirrec", CONFIG)
    request_evaluate.run(requests, folder / "models" / "choirrec", folder / "evaluation" / "choirrec", EVALUATE)
    return folder


def test_an_evaluation_tells_of_every_segment_and_its_scores_can_be_compared(run):
    found = json.loads((run / "evaluation" / "choirrec" / "metrics.json").read_text())
    assert set(found["test"]) == {"overall", "low", *(f"level_{n}" for n in range(1, 6))}
    overall = found["test"]["overall"]
    assert overall["requests"] == 120 and overall["gauc"]["low"] <= overall["gauc"]["mean"] <= overall["gauc"]["high"]
    assert sum(found["test"][f"level_{n}"]["requests"] for n in range(1, 6)) == 120
    assert 0 < found["test"]["low"]["users"] < overall["users"] and 0 < overall["fusion"] < 1
    assert overall["calibration"]["mean"] == pytest.approx(1, abs=0.5)
    same = run / "evaluation" / "choirrec"
    paired = request_evaluate.compare(run / "requests", same, same, None, EVALUATE)["b_minus_a"]
    assert paired["overall"]["gauc"] == {"difference": 0, "low": 0, "high": 0, "p_value": 1}


def test_the_least_active_users_are_of_the_lowest_level(run):
    data = Requests(run / "requests")
    test, _ = request_evaluate.read(run / "evaluation" / "choirrec")
    segments = request_evaluate.of_users(data, test, EVALUATE)
    purchases = np.array([int(user[1:]) for user in test.user])  # as conversion_data has them
    levels = [purchases[segments[f"level_{n}"]] for n in range(1, 6)]
    for one, two in zip(levels, levels[1:], strict=False):
        assert one.max() < two.min()
    np.testing.assert_array_equal(segments["low"], purchases < 16)  # of 30 users 55% are 16


def test_a_served_version_answers_raw_features_as_the_model_does(run):
    told = request_export.run(run / "requests", run / "models" / "choirrec", run / "export" / "cvr",
                              ExportConfig(warmup_requests=3))  # fmt: skip
    assert told["version"] == 1 and told["signature"] == "predict_cvr"
    data = Requests(run / "requests")
    served = tf.saved_model.load(told["path"]).signatures["predict_cvr"]
    names = [*(feature.name for feature in data.raw), "candidates"]
    rows = request_files.read_rows(run / "requests", "test", names).slice(0, 8).to_pylist()
    inputs = {spec.name: spec for spec in (request_export.spec(feature) for feature in data.raw)}
    width = {name: max(len(row[name]) for row in rows) for name in ("bought", "skipped", "group_sequence")}
    given = {}
    for name, spec in inputs.items():
        values = [row[name] for row in rows]
        if name in width:
            values = [value + [""] * (width[name] - len(value)) for value in values]
        given[name] = tf.constant(values, spec.dtype)
    one = [row["candidates"][0] for row in rows]
    answer = served(**given, candidates=tf.constant([[item, "i03", ""] for item in one]))
    assert set(answer) == {"probabilities", "logits", "fusion"}
    restored = request_saved.load(run / "models" / "choirrec", data)
    scored = RequestScores(InProcess(), data, restored.ranker).of("test")
    np.testing.assert_allclose(answer["logits"][:, 0], scored.logits[:8, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answer["fusion"][:, 0], scored.told["fusion"][:8, 0], rtol=1e-4)
    calibration = request_export.calibrated(restored.ranker, data)
    assert asdict(calibration) == told["calibration"] == json.loads(
        (run / "export" / "cvr" / "1" / "assets.extra" / "manifest.json").read_text())["calibration"]  # fmt: skip
    np.testing.assert_allclose(answer["probabilities"][:, 0], calibration.probability(scored.logits[:8, 0]), rtol=1e-4)
    assert (answer["probabilities"][:, 2].numpy() == 0).all() and (answer["probabilities"][:, 1].numpy() > 0).all()
    assert len(list(tf.data.TFRecordDataset(str(run / "export" / "cvr" / "1" / WARMUP)))) == 3
