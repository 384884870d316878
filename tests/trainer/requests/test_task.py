"""Models of labelled requests in the loop: learned, resumed, and on a cluster the same as in one process."""

import json
from dataclasses import replace

import numpy as np
import pytest
import request_cluster
import request_data
from trained import parameters

from trainer import train
from trainer.requests.config import RequestModelConfig, RequestOptimizerConfig, RequestTrainConfig

MODEL = RequestModelConfig(d=4, hidden=(16,), attention=(4,), dropout=0.05)
CONFIG = RequestTrainConfig(
    batch=16, epochs=12, steps_per_schedule=5, validate_every=3, checkpoint_every=3, model=MODEL,
    optimizer=RequestOptimizerConfig("adagrad", 0.2, initial_accumulator=0.1, final_rate=0.02),
)  # fmt: skip


@pytest.fixture(scope="module")
def requests(tmp_path_factory):
    return request_data.write(tmp_path_factory.mktemp("data") / "requests", slate=3, train=320)


@pytest.fixture(scope="module")
def trained(requests, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "models" / "base"
    train.run(requests, None, out, CONFIG)
    return out


def valid(history):
    return [entry["valid/gauc"] for entry in history["epochs"] if "valid/gauc" in entry]


def test_training_learns_and_says_how_well(trained):
    history = json.loads((trained / "history.json").read_text())
    first, last = history["epochs"][0], history["epochs"][-1]
    assert last["loss"] < first["loss"]
    assert history["summary"]["valid_gauc"] == max(valid(history)) > 0.6
    assert {"valid/auc", "valid/log_loss", "valid/ndcg@3", "valid/dropped"} <= last.keys()


def test_the_rate_falls_over_the_epochs_so_that_they_are_part_of_the_recipe(requests, trained):
    with pytest.raises(ValueError, match="was trained with epochs=12, asked for 13"):
        train.run(requests, None, trained, replace(CONFIG, epochs=13))


def test_an_interrupted_run_ends_where_an_unbroken_one_does(requests, trained, tmp_path, monkeypatch):
    from trainer import loop

    class Broken(RuntimeError):
        pass

    validate, times = loop.Trainer._validate, iter(range(9))

    def broken(self):
        if next(times) == 2:
            raise Broken
        return validate(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_validate", broken)
        with pytest.raises(Broken):
            train.run(requests, None, tmp_path / "base", CONFIG)
    train.run(requests, None, tmp_path / "base", CONFIG)
    one, two = parameters(trained), parameters(tmp_path / "base")
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_metric_that_there_is_not_is_told(requests, tmp_path):
    with pytest.raises(ValueError, match="select must be one of 'auc'"):
        train.run(requests, None, tmp_path / "base", replace(CONFIG, epochs=1, select="profit"))


def test_a_cluster_trains_to_the_same_parameters_and_validates_alike(repository, requests, trained, tmp_path):
    here = valid(json.loads((trained / "history.json").read_text()))
    for there in request_cluster.trained(repository, requests, tmp_path, [CONFIG]):
        np.testing.assert_allclose(there, here, atol=2e-3)
    expected = parameters(trained)
    for mode in ("on", "off"):
        found = parameters(tmp_path / mode / "base")
        assert found.keys() == expected.keys()
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=f"{mode} {name}")
