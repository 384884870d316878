import dataclasses
import json

from antiphon.retraining import measuring
from feature_store.examples import read_rows
from serving.config import IndexConfig
from trainer import train
from trainer.config import ExportConfig, ModelConfig, TrainConfig


def test_a_candidate_is_exported_with_its_index_and_measured_and_then_compared_with_itself(shop, tmp_path, monkeypatch):
    from trainer import replay

    monkeypatch.setattr(replay, "TIMED", 2)
    examples, model = shop / "examples", tmp_path / "models" / "ids"
    config = TrainConfig(epochs=1, batch=64, steps_per_schedule=1, model=ModelConfig(d=8, blocks=1, max_length=3))
    train.run(examples, None, model, config)
    what = {
        "examples": str(examples),
        "result": str(tmp_path / "replay" / "measure.json"),
        "model": str(model),
        "versions": {"candidate": str(tmp_path / "export" / "ids" / "7")},
        "export": dataclasses.asdict(ExportConfig(warmup_requests=1)),
        "index": dataclasses.asdict(IndexConfig(kind="ivf", lists=2)),
        "bootstrap": 10,
        "views": {},
        "tell": None,
    }
    measuring.main(what)
    found = json.loads((tmp_path / "replay" / "measure.json").read_text())
    index = found["index"]["candidate"]
    assert index["kind"] == "ivf" and index["recall@50"] > 0.9
    version = tmp_path / "export" / "ids" / "7"
    assert (version / "assets.extra" / "index" / "items.faiss").is_file()
    users = len(read_rows(examples, "test", ["user_id"]))
    assert found["users"] == users and 0 <= found["quality"]["candidate"]["ndcg@10"] <= 1
    measuring.main({**what, "same": [str(version), str(version)], "view": None, "result": str(tmp_path / "same.json")})
    assert json.loads((tmp_path / "same.json").read_text()) == {"requests": users, "alike": users}
