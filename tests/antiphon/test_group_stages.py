import json
import subprocess
import sys
from dataclasses import asdict, replace

import pyarrow.parquet as pq
import pytest

from antiphon import records, stages
from antiphon.cli import main
from antiphon.config import load
from feature_store import user_groups

TINY = "configs/market_tiny.yaml"


def test_the_stages_are_in_the_plan_only_where_profiles_are_asked_for():
    planned = {stage.name: stage.needs for stage in stages.plan(load(TINY))}
    assert planned["profiles"] == ("ingest",)
    assert planned["groups"] == ("profiles",)
    assert planned["priors"] == ("ingest", "groups")
    assert not {"profiles", "groups", "priors"} & {stage.name for stage in stages.plan(load("configs/tiny.yaml"))}


@pytest.mark.parametrize("command", ["profiles", "groups", "priors"])
def test_without_profiles_there_is_nothing_to_do(command, tmp_path, capsys):
    assert main([command, "-c", "configs/tiny.yaml", "--set", f"runs={tmp_path}"]) == 2
    assert "profiles must be given" in capsys.readouterr().err


def test_a_setting_that_is_younger_than_a_run_does_not_make_it_anew():
    config = load("configs/demo.yaml")
    (embed,) = stages.find(config, "embed")
    before = {name: value for name, value in asdict(config.embed).items() if name != "dimensions"}
    assert records.fingerprint(embed.settings) == records.fingerprint(before)
    (cut,) = stages.find(replace(config, embed=replace(config.embed, dimensions=8)), "embed")
    assert cut.settings == before | {"dimensions": 8}


@pytest.mark.slow
def test_from_a_simulated_market_to_priors_by_the_command_line(tmp_path, repository):
    shown = ["-c", TINY, "--set", f"runs={tmp_path}", "--set", f"data.path={tmp_path / 'log'}"]
    for command in (["simulate", "market"], ["ingest"], ["profiles"], ["groups"], ["priors"]):
        done = subprocess.run(
            [sys.executable, "-m", "antiphon.cli", *command, *shown], cwd=repository, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    run = tmp_path / "market_tiny"
    grouped = user_groups.read(run / "groups", hashes=True)
    users = pq.read_table(run / "groups" / "users.parquet")
    names = set(pq.read_table(run / "priors" / "groups.parquet")["group"].to_pylist())
    assert len(users) == 120
    assert set(users["group"].to_pylist()) <= names
    assert pq.read_metadata(run / "priors" / "users.parquet").num_rows == 120
    summary = json.loads((run / "stages" / "priors.json").read_text())["summary"]
    assert summary["version"] == grouped["version"]
    assert summary["views"] == {"user_group": 120, "group_prior": len(names)}
    assert json.loads((run / "stages" / "profiles.json").read_text())["summary"]["mode"] == "template"
