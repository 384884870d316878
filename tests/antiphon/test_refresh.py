"""Rounds of stored knowledge over the example shop, with the tiny language model."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from antiphon import records, refresh, stages
from antiphon.cli import main
from antiphon.config import dump, load
from feature_store import failures, folders, knowledge_view, user_knowledge
from trainer import checkpoint

STEPS = """
import sys
from antiphon import stages
from antiphon.config import load
config = load(sys.argv[1])
for stage in stages.needed(config, "rounds"):
    if stages.holds(config, stage):
        continue
    print("begins", stage.name, flush=True)
    stages.do(config, stage)
print("all done", flush=True)
"""


@pytest.fixture(scope="module")
def settings(repository, tiny_llm, tmp_path_factory):
    """Makes a run's config, in a folder of its own where the first stages are done."""
    runs = tmp_path_factory.mktemp("rounds")

    def make(name, *changes, rounds=2):
        coco = {"enabled": "true", "refresh": "true", "codes": 8, "selected": 2, "threshold": 0.2}
        small = [f"variants.rounds.coco.{field}={value}" for field, value in coco.items()]
        small += [f"data.path={repository / 'configs' / 'example_tables'}", f"runs={runs}", f"name={name}"]
        small += [f"llm.{field}" for field in (f"model={tiny_llm}", "d=4", "rank=2", "max_tokens=24")]
        small += ["llm.learning_rate=0.01", "train.cluster=", "train.batch=64", "train.epochs=1"]
        small += ["train.steps_per_schedule=1"]
        small += [f"variants.rounds.rounds={rounds}", "variants.ids_text.model.knowledge="]
        config = load(repository / "configs" / "tiny.yaml", [*small, *changes])
        config.folder.mkdir(parents=True, exist_ok=True)
        (config.folder / "config.yaml").write_text(dump(config))
        if (runs / "whole").is_dir() and name != "whole":
            for part in ("tables", "features", "examples"):
                shutil.copytree(runs / "whole" / part, config.folder / part, dirs_exist_ok=True)
            for part in ("ingest", "features", "examples"):
                record = f"stages/{part}.json"
                (config.folder / "stages").mkdir(exist_ok=True)
                shutil.copyfile(runs / "whole" / record, config.folder / record)
        return config

    return make


def run(config):
    """All that is left to do, in this process; the names of the stages."""
    done = []
    for stage in stages.needed(config, "rounds"):
        if not stages.holds(config, stage):
            stages.do(config, stage)
            done.append(stage.name)
    return done


@pytest.fixture(scope="module")
def whole(settings):
    """A round, and then another that goes on from it."""
    done = run(settings("whole", rounds=1))
    steps = [[f"refresh-rounds-{number}-{step}" for step in refresh.STEPS] for number in (0, 1)]
    assert done[-7:] == ["refresh-rounds-adapter", *steps[0], "refresh-rounds-view"]
    config = settings("whole")
    assert run(config) == [*steps[1], "refresh-rounds-view"]
    return config


def state(config, number):
    """What a round ended in: the adapter, what is known, whom it failed and with which gradients."""
    folder = config.folder / "models" / "rounds"
    adapter = json.loads((folder / "refresh" / str(number) / "adapter.json").read_text())
    learner = torch.load(folder / "llm" / f"ckpt-{adapter['step']}" / "learner.pt", weights_only=True)
    found = {name: value.numpy() for name, value in learner["weights"].items()}
    rows, log = knowledge(config, number), folder / "refresh" / str(number) / "failures"
    keys = [tuple(row[name] for name in user_knowledge.KEYS) for row in rows]
    failed = pq.read_table(log / folders.read_manifest(log)["files"][0]["file"])
    found["knowledge"] = np.array([row["vector"] or [0.0] * 4 for row in rows])
    found["gradient"] = np.array(failed["gradient"].to_pylist())
    return found, (keys, adapter["version"], failed.drop_columns("gradient").to_pylist())


def knowledge(config, number):
    folder = config.folder / "models" / "rounds" / "refresh" / str(number) / "users"
    files = [folder / part["file"] for part in folders.read_manifest(folder)["files"]]
    return pa.concat_tables(pq.read_table(file) for file in files).to_pylist()


def same(config, other, number):
    one, two = state(config, number), state(other, number)
    assert one[1] == two[1] and one[0].keys() == two[0].keys()
    for name, value in one[0].items():
        np.testing.assert_allclose(two[0][name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_round_refreshes_exactly_the_users_that_the_one_before_failed(whole):
    failed = failures.users(whole.folder / "models" / "rounds" / "refresh" / "0" / "failures")
    before, after = knowledge(whole, 0), knowledge(whole, 1)
    users = {row["user_id"] for row in before}
    assert 0 < len(failed) < len(users)
    key = user_knowledge.KEYS
    assert [[row[name] for name in key] for row in before] == [[row[name] for name in key] for row in after]
    for one, two in zip(before, after, strict=True):
        fresh = one["user_id"] in failed
        assert fresh == (one["adapter_version"] != two["adapter_version"])
        assert fresh or one == two


def test_the_record_tells_of_each_round(whole, capsys):
    refresh.tell(whole, "rounds")
    first, second = json.loads((whole.folder / "models" / "rounds" / "rounds.json").read_text())
    assert (first["users"], first["refreshed"], first["share"]) == (first["users"], first["users"], 1.0)
    assert second["refreshed"] == first["failed"] and second["share"] == first["failed"] / first["users"]
    assert 0 < second["helped"] < 1 and second["updates"] > 0
    assert second["adapter_version"] != first["adapter_version"]
    assert second["users_per_second"].keys() == {"prompts", "knowledge", "failures", "update"}
    printed = capsys.readouterr().out
    assert f"round 1: {second['refreshed']} of {second['users']} users refreshed" in printed


def test_rounds_that_are_done_stay(whole):
    assert run(whole) == []
    history = json.loads((whole.folder / "models" / "rounds" / "history.json").read_text())
    assert history["summary"]["epochs"] == 2 and len(refresh.rounds(whole, "rounds")) == 2


def test_evaluation_reads_the_knowledge_of_the_best_checkpoint_s_round(whole):
    history = json.loads((whole.folder / "models" / "rounds" / "history.json").read_text())["summary"]
    best = refresh.stored(whole, "rounds")
    assert best.name == str(history["best_epoch"] - 1)
    assert history["knowledge"]["adapter_version"] == user_knowledge.read_folder(best / "users")["adapter_version"]
    rows = [row for row in knowledge(whole, int(best.name)) if row["split"] == "test"]
    with knowledge_view.opened(whole.folder / "models" / "rounds" / knowledge_view.FOLDER) as store:
        found = store.read([rows[0]["user_id"], "nobody"], **history["knowledge"])
    assert found.mask.any(axis=1).tolist() == [True, False]
    np.testing.assert_allclose(found.vectors[0, 0], rows[0]["vector"], rtol=1e-6)


def killed(config, stage, repository):
    """Runs the stages in another process, which is killed when ``stage`` begins."""
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", STEPS, str(config.folder / "config.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if line.split() == ["begins", stage]:
                process.send_signal(signal.SIGKILL)
                return
    raise AssertionError(f"ended with {process.returncode} before {stage}")


def test_rounds_that_were_killed_go_on_to_the_same_end(whole, settings, repository):
    broken = settings("broken", rounds=1)
    killed(broken, "refresh-rounds-0-train", repository)
    assert records.read(broken.folder, "refresh-rounds-0-knowledge").done
    assert run(broken) == [f"refresh-rounds-0-{step}" for step in ("train", "failures", "update")] + [
        "refresh-rounds-view"
    ]
    same(whole, broken, 0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_kill_at_the_beginning_of_every_step_changes_nothing(whole, settings, repository, number):
    broken = settings(f"broken-{number}")
    for step in refresh.STEPS:
        killed(broken, f"refresh-rounds-{number}-{step}", repository)
    run(broken)
    same(whole, broken, 1)
    folder = "models/rounds/checkpoints"
    newest = checkpoint.newest(broken.folder / folder)
    for file in newest.glob("*.npy"):
        np.testing.assert_allclose(np.load(file), np.load(whole.folder / folder / newest.name / file.name), atol=1e-6)


def test_other_settings_begin_anew(settings, whole, capsys):
    config = settings("other", rounds=1)
    for stage in stages.needed(config, "rounds")[:4]:
        if not stages.holds(config, stage):
            stages.do(config, stage)
    left = config.folder / "models" / "rounds" / "llm" / "ckpt-99"
    left.mkdir()
    changed = settings("other", "llm.rank=3", rounds=1)
    (stage,) = [one for one in stages.needed(changed, "rounds") if one.name == "refresh-rounds-adapter"]
    stages.do(changed, stage)
    assert not left.exists()
    assert "was made from other inputs or settings; starting afresh" in capsys.readouterr().out


def test_what_does_not_fit_is_refused_before_any_work(settings, capsys):
    config = settings("refused")
    file = str(config.folder / "config.yaml")
    for changes, told in (
        (["--variant", "ids"], "variants.ids.coco.refresh must be true"),
        (["--variant", "rounds", "--rounds", "0"], "rounds must be at least 1"),
        (["--variant", "rounds", "--set", "variants.rounds.coco.elimination=off"], "elimination must not be 'off'"),
        (["--variant", "rounds", "--set", "variants.rounds.coco.source=kar"], "coco.source must be empty"),
    ):
        assert main(["refresh", "-c", file, *changes]) == 2
        assert told in capsys.readouterr().err


def test_a_whole_run_has_the_rounds_in_the_place_of_a_training(settings):
    plan = {stage.name: stage for stage in stages.plan(settings("planned"))}
    assert "train-rounds" not in plan
    assert plan["evaluate"].needs == ("examples", "train-ids", "train-ids_text", "refresh-rounds-view")
