"""The rounds of ranker and reasoner over the tiny chatbot, with a linear ranker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon import align, records, stages
from antiphon.config import load
from feature_store import alignment_tables, folders
from llm_offline import adapter
from llm_offline.alignment_config import AlignConfig

STEPS = ["0-embed", "0-rank", *(f"1-{step}" for step in align.ROUND)]


@pytest.fixture(scope="module")
def config_file(tmp_path_factory, chat_llm, chat_sessions):
    """A config whose two teachers are the reasoner and a recorded file."""
    folder = tmp_path_factory.mktemp("config")
    told = alignment_tables.read(chat_sessions, "session_texts", "sessions").to_pylist()
    lines = [{"session_id": row["session_id"], "query": f"my {row['intents'][0]} please"} for row in told]
    (folder / "big.jsonl").write_text("\n".join(map(json.dumps, lines)))
    tune = {"epochs": 1, "batch": 8, "rank": 2, "neftune": 0.5, "learning_rate": 0.01}
    content = {
        "name": "chat",
        "align": {
            "sessions": str(chat_sessions), "ranker": "linear_ranker", "folds": 2, "any_length": True,
            "strategy": "v1",
            "reasoner": {"model": str(chat_llm), "max_tokens": 1024, "max_new_tokens": 4},
            "teachers": {"own": {"temperature": 1.0}, "big": {"kind": "file", "file": str(folder / "big.jsonl")}},
            "sft": tune, "refinement": tune,
        },
    }  # fmt: skip
    path = folder / "chat.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


@pytest.fixture
def configured(config_file, tmp_path):
    def make(*changes):
        return load(config_file, [f"runs={tmp_path}", *changes])

    return make


def run(config, steps=None):
    """The stages that no longer hold, in this process; returns their names."""
    done = []
    for stage in align.stages(config):
        step = stage.name.removeprefix("align-")
        if not stages.holds(config, stage) and (steps is None or step in steps):
            stages.do(config, stage)
            done.append(step)
    return done


def test_a_round_goes_from_candidates_to_new_rankers_and_on_where_it_was(configured, monkeypatch):
    config = configured()
    align.check(config)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setitem(align._WORK, "sft", lambda number: _stopped)
        run(config)
    assert run(config) == STEPS[6:]  # only what was not done
    assert run(config) == []
    here = config.folder / "align" / "1"
    keys = ("adapter_version", "parent")
    first, second = ([adapter.read(here / name)[key] for key in keys] for name in ("sft", "refine"))
    assert first[1] == "base" and second[1] == first[0] and second[0].startswith("cl-")
    assert folders.read_manifest(here / "queries")["adapter_version"] == second[0]
    assert adapter.read(here / "refine")["made_of"]["vectors"] == folders.version(here / "vectors")
    rewards = alignment_tables.read_manifest(here / "rewards", "rewards")
    assert rewards["ranker"] == folders.version(config.folder / "align" / "0" / "rankers")
    told = align.rounds(config)
    assert [one["round"] for one in told] == [0, 1]
    assert told[1]["best"]["samples"] == 10 and set(told[1]["seconds"]) == set(align.ROUND)
    align.tell(config)
    assert json.loads((config.folder / "align" / "rounds.json").read_text()) == json.loads(records.to_json(told))

    # Another strategy is Best-of-N's and what comes after it, no more.
    other = configured("align.strategy=v2", "align.refine=dpo")
    assert [s.name for s in align.stages(other) if not _holds(other, s)][0] == "align-1-best"


def test_standardised_the_states_are_placed_by_what_the_rankers_were_trained_on(configured):
    config = configured("align.standardise=true", "align.rounds=1")
    run(config)
    here = config.folder / "align"
    made_of = adapter.read(here / "1" / "refine")["made_of"]
    assert made_of["asked"] == folders.version(here / "0" / "queries")
    plain, placed = configured("align.rounds=1"), configured("align.standardise=true", "align.place=true")
    for other, first in ((plain, "align-1-refine"), (placed, "align-1-reward")):
        assert [stage.name for stage in align.stages(other) if not _holds(other, stage)][0] == first


def _stopped(config):
    raise KeyboardInterrupt


def _holds(config, stage):
    try:
        return stages.holds(config, stage)
    except ValueError:  # a stage it needs is not done
        return False


def test_further_rounds_build_on_the_ones_before(configured):
    config = configured("align.rounds=2")
    names = [stage.name.removeprefix("align-") for stage in align.stages(config)]
    assert names[: len(STEPS)] == STEPS and names[len(STEPS) :] == [f"2-{step}" for step in align.ROUND]
    assert align.stages(config)[len(STEPS)].needs == ("align-1-rank",)
    assert align.adapter(config, 1) == config.folder / "align" / "1" / "refine" and align.adapter(config, 0) is None
    assert run(config) == names
    first, second = (config.folder / "align" / str(number) for number in (1, 2))
    tuned = {here: {name: adapter.read(here / name) for name in ("sft", "refine")} for here in (first, second)}
    assert tuned[second]["sft"]["parent"] == tuned[first]["refine"]["adapter_version"]
    asked = folders.read_manifest(second / "queries")["adapter_version"]
    assert asked == tuned[second]["refine"]["adapter_version"] != tuned[first]["refine"]["adapter_version"]
    rewards = alignment_tables.read_manifest(second / "rewards", "rewards")
    assert rewards["ranker"] == folders.version(first / "rankers")
    sources = [{row["teacher"]: row["source"] for row in alignment_tables.read(
        here / "candidates", "candidates", "candidates").to_pylist()} for here in (first, second)]  # fmt: skip
    assert sources[0]["big"] == sources[1]["big"] and sources[0]["own"] != sources[1]["own"]
    assert [one["round"] for one in align.rounds(config)] == [0, 1, 2]


def test_the_ranker_itself_is_a_teacher(configured):
    config = configured("align.teachers.big={kind: ranker, samples: 2}", "align.strategy=v2")
    align.check(config)
    run(config, ["0-embed", "0-rank", "1-candidates"])
    rows = alignment_tables.read(config.folder / "align" / "1" / "candidates", "candidates", "candidates").to_pylist()
    mine = [row for row in rows if row["teacher"] == "big"]
    assert [row["candidate"] for row in mine] == ["big/0", "big/1"] * 10
    assert {row["query"][:3] for row in mine} == {"0: ", "1: "} and not any(row["own"] for row in mine)
    other = configured("align.teachers.big={kind: ranker}", "align.ranker=json")
    with pytest.raises(ValueError, match="must be a module with questions, for the teacher 'big', received 'json'"):
        align.check(other)


def test_by_default_the_reasoner_learns_from_others_alone():
    assert AlignConfig().strategy == "v2"
    assert {each.kind for each in AlignConfig().teachers.values()} == {"self", "ranker"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["align.sessions="], "align.sessions must be a folder of session texts"),
        (["align.sessions=/nowhere"], "was not written to the end"),
        (["align.ranker=no_such_module"], "align.ranker must be a module that can be imported"),
        (["align.ranker=no_such.module"], "align.ranker must be a module that can be imported"),
        (["align.teachers.big.file=/nowhere"], "no such file of recorded queries"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_begun(configured, changes, message):
    with pytest.raises(ValueError, match=message):
        align.check(configured(*changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("align.strategy=v9", "align.strategy must be one of"),
        ("align.folds=1", "align.folds must be at least 2"),
        ("align.priority=[own]", "align.priority must be a sequence of all teachers"),
        ("align.refinement.rank=3", r"align.refinement.rank and alpha must be those of sft \(2, 16\)"),
        ("align.reasoner.vector=query", "align.reasoner.vector must be 'states' with refine: cl"),
        ("align={standardise: true, refine: dpo}", "align.standardise must be false with refine: dpo, received True"),
        ("align.teachers={own: {}}", None),
    ],
)
def test_settings_that_cannot_be_are_refused(configured, change, message):
    if message is None:
        with pytest.raises(ValueError, match="align.teachers must be two kinds"):
            configured(change, "align.strategy=v2")
    else:
        with pytest.raises(ValueError, match=message):
            configured(change)


@pytest.mark.slow
def test_the_command_does_every_stage_as_a_process(config_file, tmp_path):
    support = str(Path(__file__).parents[1] / "support")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), support])}
    command = [sys.executable, "-m", "antiphon.cli", "align", "-c", str(config_file), "--set", f"runs={tmp_path}"]
    for expected in (f"{len(STEPS)} stages", "[10/10] align-1-rank: unchanged, skipped"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout and "round 1: reasoner cl-" in done.stdout
