"""The stages of a run that learns who buys what it has clicked (ChoirRec), each after those it builds on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from antiphon import choice, records
from antiphon.config import Config
from antiphon.stage import Stage
from antiphon.work import Work


def plan(config: Config, before: Sequence[Stage]) -> list[Stage]:
    """The stages of a run whose config has `rankers`.

    Args:
        before: those that make the tables and, with profiles, the groups and their priors.
    """
    needs = tuple(stage.name for stage in before if stage.name in ("ingest", "groups", "priors"))
    stages = [*before, Stage("requests", ("requests",), needs, config.conversion, ("requests",), requests)]
    stages += [train_stage(config, name) for name in config.rankers]
    trained = tuple(f"train-{name}" for name in config.rankers)
    evaluated = tuple(f"evaluation/{name}" for name in config.rankers)
    return [
        *stages,
        Stage("evaluate", ("evaluate",), ("requests", *trained), config.judge, evaluated, evaluate),
        export_stage(config, export),
    ]


def export_stage(config: Config, work: Work) -> Stage:
    """What exports a ranker."""
    needs = ("requests", *choice.needs(config.export, {name: f"train-{name}" for name in config.rankers}))
    return Stage("export", ("export",), needs, config.export.writing, ("export/chosen.json",), work)


def train_stage(config: Config, name: str) -> Stage:
    """What trains a ranker on the run's requests."""
    products = (f"models/{name}/history.json", f"models/{name}/checkpoints")
    settings = config.rankers[name]
    return Stage(f"train-{name}", ("train", "--variant", name), ("requests",), settings, products,
                 lambda config: train(config, name), lambda config: _identity(config, name),
                 grace=settings.grace_seconds)  # fmt: skip


def requests(config: Config) -> dict[str, Any]:
    """Clicked impressions with what was known at their time, and whether a purchase followed."""
    from feature_store import conversions

    folder = config.folder
    grouped = (folder / "groups", folder / "priors") if config.profiles is not None else (None, None)
    made = conversions.write(folder / "tables", *grouped, folder / "requests", config.conversion)
    counts = {split: {n: told[n] for n in ("examples", "positives")} for split, told in made["splits"].items()}
    return {**counts, "boundaries": made["boundaries"], "groups": made["groups"]}


def train(config: Config, name: str) -> dict[str, Any]:
    """One ranker, on the run's requests."""
    from trainer import train

    return train.run(config.folder / "requests", None, config.folder / "models" / name, config.rankers[name])


def evaluate(config: Config) -> dict[str, Any]:
    """Every ranker on the test split; then every one against the first, over the same users."""
    from trainer.cluster import roles
    from trainer.requests import evaluate as request_evaluate

    data, folder = config.folder / "requests", config.folder / "evaluation"
    summary: dict[str, Any] = {}
    with roles.runtime(config.evaluate.cluster, folder / "cluster") as runtime:
        for name in config.rankers:
            model = config.folder / "models" / name
            found = request_evaluate.run(data, model, folder / name, config.judge, runtime)
            summary[name] = {segment: told["gauc"]["mean"] for segment, told in found["test"].items()}
    baseline, *others = config.rankers
    for name in others:
        out = folder / f"comparison_{name}.json"
        found = request_evaluate.compare(data, folder / baseline, folder / name, out, config.judge)["b_minus_a"]
        summary[f"{name} against {baseline}"] = {segment: told["gauc"] for segment, told in found.items()}
    return summary


def export(config: Config) -> dict[str, Any]:
    """The chosen ranker, by `trainer.requests.export`."""
    from trainer.requests import export as request_export

    return export_chosen(config, request_export.run)


def export_chosen(config: Config, write: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The ranker that the config names, else the one that did best on validation by its own selection metric.

    Args:
        write: makes a version of requests, model, its folder of versions, and `ExportConfig`.
    """
    metrics = {name: ranker.select for name, ranker in config.rankers.items()}
    name, scores = choice.choose(config.folder / "models", metrics, config.export)
    model, out = config.folder / "models" / name, config.folder / "export" / name
    summary = write(config.folder / "requests", model, out, config.export)
    asked = bool(config.export.variant)
    chosen = {"variant": name, "asked": asked, "validation": scores, **summary}
    records.write_text(config.folder / "export" / "chosen.json", records.to_json(chosen))
    return chosen


def _identity(config: Config, name: str) -> dict[str, Any]:
    """What of a ranker's settings makes it another model: a checkpoint made with others is no start."""
    from trainer.train import free_to_change

    settings = config.rankers[name]
    free = free_to_change(settings)
    return {key: value for key, value in dataclasses.asdict(settings).items() if key not in free}
