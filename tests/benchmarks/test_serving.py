from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import _exported, serving


def test_measures_every_way_in_one_run(model: Path, capfd) -> None:
    flags = ["--model", str(model), "--requests", "6", "--rounds", "1", "--clients", "1", "2"]
    assert serving.main(flags) == 0
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert figures["machine"]["cores"] >= 1
    assert figures["histories"] == 1
    for way in ("in_process", "grpc", "rest", "grpc_batched", "rest_batched"):
        for clients in ("1", "2"):
            row = figures["latency_by_clients"][way][clients]
            assert 0 < row["p50_ms"] <= row["p99_ms"]
            assert row["requests_per_second"] > 0


@pytest.mark.parametrize(
    ("missing", "message"),
    [("saved_model.pb", "no saved_model.pb in it"), ("assets.extra", "no tf_serving_warmup_requests in it")],
)
def test_needs_a_model_and_its_requests(
    model: Path, tmp_path: Path, capsys, missing: str, message: str
) -> None:
    (model / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(SystemExit):
        serving.main(["--model", str(model)])
    assert message in capsys.readouterr().err


def test_without_a_model_it_asks_what_the_demo_exported(model: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        serving.main([])
    assert "--model must be given where there is no runs/demo/export/chosen.json" in capsys.readouterr().err
    (chosen := tmp_path / _exported.CHOSEN).parent.mkdir(parents=True)
    chosen.write_text(json.dumps({"variant": "ids", "path": str(model)}))
    assert _exported.version(None) == model
    assert _exported.version(Path("other")) == Path("other")
