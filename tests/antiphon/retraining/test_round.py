"""Two rounds of a model that trains with a language model beside it, whose adapter goes from version to version."""

import json

import numpy as np
import torch

from antiphon.config import load
from antiphon.retraining import run
from antiphon.retraining.state import Places
from benchmarks import _retrain_shop
from feature_store import knowledge_view
from llm_offline.knowledge import state
from trainer import replay, saved


def test_an_adapter_goes_on_and_each_version_is_asked_with_what_its_own_adapter_told(tmp_path, tiny_llm, monkeypatch):
    monkeypatch.setattr(replay, "TIMED", 2)
    small = {"enabled": "true", "codes": 8, "selected": 2, "threshold": 0.2}
    small = [f"variants.ids.coco.{name}={value}" for name, value in small.items()]
    small += [f"llm.{field}" for field in (f"model={tiny_llm}", "d=4", "rank=2", "max_tokens=24", "learning_rate=0.01")]
    path = _retrain_shop.make(tmp_path / "shop")
    monkeypatch.chdir(path.parent)
    config = load(path, [*small, "retrain.max_size_ratio=9", "retrain.max_calibration_loss=1"])
    places = Places.of(config)
    for number in (1, 2):
        _retrain_shop.arrive(path.parent, number - 1)
        assert run.run(config, here=True) == 0
        assert places.read_state().stable == number, places.decision(number)

    best = {n: places.model(n) / "llm" / f"ckpt-{saved.best_step(places.model(n))}" for n in (1, 2)}
    told = (places.round(2) / "logs" / "llm-ids.log").read_text()
    assert f"llm: begins with {best[1]}\n" in told and "a trainer begins at step 0, adapter version 0" in told
    before, after = (state.read(folder) for folder in best.values())
    assert (before["version"], after["version"]) == (2, 1)
    taken = [int(one["optimizer"]["state"][0]["step"]) for one in (before, after)]
    assert taken == [2, 3]  # the moments went on too
    assert not all(torch.equal(before["weights"][name], after["weights"][name]) for name in before["weights"])

    measured = json.loads((places.round(2) / "replay" / "measure.json").read_text())
    assert measured["known"]["candidate"] == measured["users"] >= measured["known"]["serving"] > 0
    assert f"of {measured['users']} by candidate" in (places.round(2) / "decision.txt").read_text()
    versions = {number: places.served / str(number) for number in (1, 2)}
    manifests = {n: json.loads((v / "assets.extra" / "manifest.json").read_text()) for n, v in versions.items()}
    made_by = {number: manifest["knowledge"] for number, manifest in manifests.items()}
    assert made_by[1]["model_id"] == made_by[2]["model_id"]
    assert made_by[1]["adapter_version"] != made_by[2]["adapter_version"]
    users = ["c001", "nobody"]
    for number, version in versions.items():
        view = places.model(number) / knowledge_view.FOLDER
        found = replay.known_of(version, view, users)
        assert found.mask[0].any() and not found.mask[1].any()
        others = replay.known_of(version, places.model(3 - number) / knowledge_view.FOLDER, users)
        assert not others.mask.any()  # of another adapter: as nothing
        histories = [["GA-01"], ["GA-01"]]
        told, alone = (replay.answers(version, histories, known)[1] for known in (found, None))
        assert not np.allclose(told[0], alone[0]) and np.allclose(told[1], alone[1], atol=1e-5)
