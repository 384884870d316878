"""Rounds of retraining that have come as far as the gate, without the training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from antiphon import records, stages
from antiphon.config import Config, load
from antiphon.retraining.state import Places, State
from benchmarks import _retrain_shop

QUALITY = {"ndcg@5": 0.2, "ndcg@10": 0.25, "recall@5": 0.3, "recall@10": 0.4}
EQUAL = {"difference": 0.0, "low": -0.01, "high": 0.01, "p_value": 1.0}


@pytest.fixture(scope="session")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version that answers the same two items to every history."""
    import tensorflow as tf

    class Constant(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="history")])
        def recommend(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
            rows = tf.shape(history)[0]
            return {"items": tf.tile(tf.constant([["GA-01", "GA-02"]]), (rows, 1)), "scores": tf.ones((rows, 2))}

    folder, module = tmp_path_factory.mktemp("versions") / "1", Constant()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.recommend})
    manifest = {"vocabulary": {"item": {"size": 3}}, "data_window": [1, 2], "checkpoint": "c", "config": {"batch": 1}}
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def measured(tmp_path, shop, version, monkeypatch):
    """Makes a folder in which round 1 left version 1 stable and round 2 has measured its candidate.

    Gives the config's path and the config; the working directory is the folder.
    """

    def make(name: str = "shop", candidate: dict[str, float] = QUALITY) -> tuple[Path, Config]:
        path = _retrain_shop.make(tmp_path / name)
        _retrain_shop.arrive(path.parent, 0)
        monkeypatch.chdir(path.parent)
        config = load(path)
        places = Places.of(config)
        places.write_state(State(round=1, watermark=5, stable=1, sources="older"))
        shutil.copytree(version, places.served / "1")
        shutil.copytree(version, places.candidate(2))
        for name in ("examples", "features"):
            shutil.copytree(shop / name, places.round(2) / name)
        for number, items in ((1, ["a", "b"]), (2, ["b", "c", "d"])):
            file = places.model(number) / "vocabulary" / "item.txt"
            file.parent.mkdir(parents=True)
            file.write_text("".join(json.dumps(item) + "\n" for item in items))
        left_out = {"rare": 1, "unseen": 0}
        grown = {"items": 3, "kept": 1, "admitted": 2, "evicted": 1, "left_out": left_out}
        raw = records.fingerprint(stages.sources(config.data))
        found = {
            "ingest": {"new": 7, "newest": 9, "sources": raw},
            "features": {},
            "examples": {},
            "train": {},
            "grow": grown,
            "measure": {
                "users": 100,
                "quality": {"serving": QUALITY, "candidate": candidate},
                "paired": dict.fromkeys(QUALITY, EQUAL),
                "calibration": dict.fromkeys(("serving", "candidate"), {"hits": 50, "error": 0.1}),
                "index": {"serving": None, "candidate": None},
                "segments": {},
                "size": {"serving": 10, "candidate": 10},
                "latency": {"serving": {"p50": 1.0}, "candidate": {"p50": 1.0}},
            },
        }
        for step, result in found.items():
            records.write_text(places.round(2) / "steps" / f"{step}.json", json.dumps(result))
        records.write_text(
            places.round(1) / "decision.json",
            json.dumps({
                "outcome": "promoted", "vocabulary": grown, "events": {"new": 4}, "training": {}, "gate": [],
                "measured": {"quality": {"candidate": QUALITY}},
            }),
        )  # fmt: skip
        return path, config

    return make
