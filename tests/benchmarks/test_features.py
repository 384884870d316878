import json
import shutil

import pytest

from benchmarks import features


def test_a_tiny_run_prints_its_figures_as_json_on_the_last_line(capsys):
    arguments = ["--users", "1000", "--length", "3", "--reads", "5", "--rounds", "1"]
    assert features.main(arguments) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for kind in ("sqlite", "redis") if shutil.which("redis-server") else ("sqlite",):
        measured = figures[kind]
        assert min(measured["write_rows_per_second"].values()) > 0
        assert measured["write_over_feast"] > 0 and measured["write_over_feast_by_processor"] > 0
        assert list(measured["read_ms_by_entities"]) == ["1", "100", "1000"]
        for row in measured["read_ms_by_entities"].values():
            assert 0 < row["p50"] <= row["p99"]
    assert figures["machine"]["cores"] >= 1


def test_a_history_that_was_not_written_is_an_error(monkeypatch):
    monkeypatch.setattr(features, "_write_ours", lambda repository, options: None)
    with pytest.raises(RuntimeError, match="a history of 3 items was not written"):
        features.main(["--users", "1000", "--length", "3", "--reads", "1", "--rounds", "1"])


def test_there_must_be_as_many_users_as_a_read_asks(capsys):
    with pytest.raises(SystemExit):
        features.parse(["--users", "10"])
    assert "--users must be at least 1000" in capsys.readouterr().err
