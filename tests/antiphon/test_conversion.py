"""A run of rankers: its stages, what each builds on, and what makes another model."""

import json
from dataclasses import replace

import pytest

from antiphon import conversion, stages, work
from antiphon.config import load
from antiphon.parse import ConfigError


@pytest.fixture
def config(repository):
    return load(repository / "configs" / "market_choirrec.yaml")


def test_every_ranker_is_trained_on_the_requests_and_the_best_is_exported(config):
    plan = {stage.name: stage for stage in stages.plan(config)}
    names = ["ingest", "profiles", "groups", "priors", "requests"]
    assert list(plan) == [*names, *(f"train-{name}" for name in config.rankers), "evaluate", "export"]
    assert plan["requests"].needs == ("ingest", "groups", "priors")
    assert plan["train-choirrec"].needs == ("requests",)
    assert set(plan["evaluate"].needs) == {"requests", *(f"train-{name}" for name in config.rankers)}
    plain = replace(config, profiles=None)
    assert {stage.name: stage for stage in stages.plan(plain)}["requests"].needs == ("ingest",)
    assert [stage.name for stage in stages.find(config, "train")] == [f"train-{name}" for name in config.rankers]


@pytest.mark.parametrize(("asked", "exported"), [("", "poso"), ("base", "base")])
def test_the_ranker_that_is_named_or_did_best_is_exported_and_told(config, tmp_path, asked, exported):
    found = {name: {"valid_gauc": 0.7 if name == "poso" else 0.6} for name in config.rankers}
    config = replace(config, runs=str(tmp_path), export=replace(config.export, variant=asked))
    for name, summary in found.items():
        (config.folder / "models" / name).mkdir(parents=True)
        (config.folder / "models" / name / "history.json").write_text(json.dumps({"summary": summary}))
    told = conversion.export_chosen(config, lambda requests, model, out, _: {"path": str(out), "of": model.name})
    assert (told["variant"], told["of"], told["asked"]) == (exported, exported, bool(asked))
    assert work.chosen(config) == told
    assert told["path"] == str(config.folder / "export" / exported)


def test_what_makes_another_model_is_all_but_where_it_is_trained(config):
    def identity(**changes):
        changed = replace(config, rankers={"base": replace(config.rankers["base"], **changes)})
        (stage,) = stages.find(changed, "train-base")
        return stage.identity(changed)

    assert identity() == identity(cluster="ps=1,workers=1") == identity(keep_checkpoints=3)
    assert identity() != identity(batch=7)
    assert identity() != identity(epochs=9)  # the rate falls over them
    constant = replace(config.rankers["base"].optimizer, final_rate=0.0)
    assert identity(optimizer=constant) == identity(optimizer=constant, epochs=9)


def test_a_ranker_changes_only_what_it_names_and_all_select_alike(config, tmp_path):
    assert config.rankers["poso"].model.hidden == config.ranker.model.hidden
    assert config.rankers["poso"].model.kind == "poso" and config.rankers["base"].model.kind == "base"
    clustered = config.on_cluster("ps=1,workers=2")
    assert {ranker.cluster for ranker in clustered.rankers.values()} == {"ps=1,workers=2"}
    path = tmp_path / "run.yaml"
    path.write_text("name: a\nrankers: {one: {select: auc}, two: {}}")
    with pytest.raises(ConfigError, match="rankers: select must be the same"):
        load(path)
