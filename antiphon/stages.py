"""The stages of a run: what each reads, what it builds on, what it makes, and the one function it calls."""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from antiphon import records
from antiphon.config import Config
from antiphon.records import Record
from feature_store.checks import require
from feature_store.config import DataConfig


@dataclass(frozen=True)
class Stage:
    """One stage of one run.

    Attributes:
        name: "ingest", "train-ids".
        command: how the command line names it: ("train", "--variant", "ids").
        needs: names of the stages it builds on.
        settings: the part of the config it reads.
        products: what it leaves in the run's folder.
        work: does it; returns a summary that JSON can write.
        resumable: its product is a folder in which it can go on where it stopped.
        version: raise it when the same settings come to give another output.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...]
    settings: Any
    products: tuple[str, ...]
    work: Callable[[Config], dict[str, Any]]
    resumable: bool = False
    version: int = 1


def plan(config: Config) -> list[Stage]:
    """The stages of a run, each after those it builds on."""
    text = ("embed",) if config.uses_knowledge else ()
    stages = [Stage("ingest", ("ingest",), (), [config.data, _sources(config.data)], ("tables",), _ingest)]
    if text:
        stages.append(embed_stage(config))
    stages += [
        Stage("features", ("features",), ("ingest", *text), config.features, ("features",), _features),
        Stage(
            "examples",
            ("examples",),
            ("ingest", "features"),
            [config.examples, config.features],
            ("examples",),
            _examples,
        ),
    ]
    for variant, train in config.variants.items():
        knowledge = text if train.model.knowledge else ()
        stages.append(
            Stage(
                f"train-{variant}",
                ("train", "--variant", variant),
                ("examples", *knowledge),
                train,
                (f"models/{variant}/history.json", f"models/{variant}/best"),
                _train(variant),
                resumable=True,
            )
        )
    trained = tuple(f"train-{variant}" for variant in config.variants)
    metrics = tuple(f"evaluation/{variant}/metrics.json" for variant in config.variants)
    stages += [
        Stage("evaluate", ("evaluate",), ("examples", *trained), config.evaluate, metrics, _evaluate),
        Stage("export", ("export",), ("examples", *trained), config.export, ("export/chosen.json",), _export),
        Stage(
            "recommend",
            ("recommend", "--save"),
            ("ingest", "features", "export"),
            {},
            ("recommendations.json",),
            _recommend,
        ),
        Stage(
            "report",
            ("report",),
            tuple(stage.name for stage in stages) + ("evaluate", "export", "recommend"),
            config.name,
            ("report.html",),
            _report,
        ),
    ]
    return stages


def embed_stage(config: Config) -> Stage:
    return Stage("embed", ("embed",), ("ingest",), config.embed, ("knowledge/item_text",), _embed)


def find(config: Config, name: str) -> list[Stage]:
    """The stages a subcommand stands for: "train" is every variant's.

    Raises:
        ValueError: there is no such stage.
    """
    stages = [*plan(config), *([] if config.uses_knowledge else [embed_stage(config)])]
    found = [stage for stage in stages if name in (stage.name, stage.command[0])]
    require(bool(found), "stage", f"must be one of {', '.join(stage.name for stage in stages)}", name)
    return found


def fingerprint(config: Config, stage: Stage) -> str:
    """What the stage's output depends on, as a hash.

    Raises:
        ValueError: a stage it builds on has not been done.
    """
    inputs = {}
    for need in stage.needs:
        record = records.read(config.folder, need)
        if record is None or not record.done:
            raise ValueError(
                f"{config.folder}: {stage.name} needs {need}, which has not been done; "
                f"`antiphon run` does every stage in order"
            )
        inputs[need] = [record.fingerprint, record.output]
    return records.fingerprint([stage.name, stage.version, _plain(stage.settings), inputs])


def holds(config: Config, stage: Stage) -> bool:
    """Whether what the stage made before is what it would make now."""
    record = records.read(config.folder, stage.name)
    return (
        record is not None
        and record.done
        and record.fingerprint == fingerprint(config, stage)
        and record.output == records.output_hash(config.folder, stage.products)
    )


def do(config: Config, stage: Stage) -> dict[str, Any]:
    """Do the stage in this process and record it. Its record is unfinished until all it makes is in place."""
    begun = fingerprint(config, stage)
    before = records.read(config.folder, stage.name)
    if stage.resumable and (before is None or before.fingerprint != begun):
        for product in stage.products:
            shutil.rmtree((config.folder / product).parent, ignore_errors=True)
    records.write(config.folder, Record(stage.name, begun))
    start = time.monotonic()
    summary = stage.work(config)
    seconds = round(time.monotonic() - start, 3)
    output = records.output_hash(config.folder, stage.products)
    if output is None:
        raise RuntimeError(f"{config.folder}: {stage.name} ended without leaving {', '.join(stage.products)}")
    records.write(config.folder, Record(stage.name, begun, True, seconds, output, summary))
    return summary


def _plain(settings: Any) -> Any:
    if isinstance(settings, list):
        return [_plain(part) for part in settings]
    return asdict(settings) if hasattr(settings, "__dataclass_fields__") else settings


def _sources(data: DataConfig) -> list[Any]:
    """The raw files, by name, size and time of change; for a data set from a wheel, the wheel's version."""
    if data.reader == "movielens_100k" and not data.path:
        try:
            return ["recbole", metadata.version("recbole")]
        except metadata.PackageNotFoundError:
            return []
    base = Path(data.path)
    named = [os.path.join(base, pattern) for pattern in (data.users, data.items, data.events) if pattern]
    files = [Path(name) for pattern in named for name in glob.glob(pattern, recursive=True)]
    if not named:
        files = [base] if base.is_file() else list(base.rglob("*"))
    return [
        [str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files) if file.is_file()
    ]


# Each stage's function. The rooms are imported within, so that no process loads TensorFlow or torch in vain.


def _knowledge(config: Config) -> Path | None:
    return config.folder / "knowledge" / "item_text" if config.uses_knowledge else None


def _ingest(config: Config) -> dict[str, Any]:
    from beam_jobs import ingest

    return ingest.run(config.data, config.folder / "tables", config.beam)


def _embed(config: Config) -> dict[str, Any]:
    from beam_jobs import embed

    out = config.folder / "knowledge" / "item_text"
    return embed.run(config.folder / "tables", out, config.embed, config.beam)


def _features(config: Config) -> dict[str, Any]:
    from beam_jobs import materialize

    folder = config.folder
    return materialize.run(
        folder / "tables", _knowledge(config), folder / "features", config.features, config.beam
    )


def _examples(config: Config) -> dict[str, Any]:
    from feature_store import examples

    folder = config.folder
    return examples.write(
        folder / "tables", folder / "features", folder / "examples", config.examples, config.features
    )


def _train(variant: str) -> Callable[[Config], dict[str, Any]]:
    def work(config: Config) -> dict[str, Any]:
        from trainer import train

        settings = config.variants[variant]
        knowledge = _knowledge(config) if settings.model.knowledge else None
        return train.run(config.folder / "examples", knowledge, config.folder / "models" / variant, settings)

    return work


def _evaluate(config: Config) -> dict[str, Any]:
    from trainer import evaluate

    folder = config.folder / "evaluation"
    summary: dict[str, Any] = {"variants": {}, "comparisons": {}}
    for variant in config.variants:
        summary["variants"][variant] = evaluate.run(
            config.folder / "examples", config.folder / "models" / variant, folder / variant, config.evaluate
        )
    baseline, *others = config.variants
    for variant in others:
        name = "comparison.json" if len(others) == 1 else f"comparison_{variant}.json"
        summary["comparisons"][variant] = evaluate.compare(
            folder / baseline, folder / variant, folder / name, config.evaluate
        )
    return summary


def _export(config: Config) -> dict[str, Any]:
    from antiphon.choice import best_variant
    from trainer import export

    variant, score = best_variant(config)
    summary = export.run(
        config.folder / "examples",
        config.folder / "models" / variant,
        config.folder / "export" / variant,
        config.export,
    )
    chosen = {"variant": variant, "validation_ndcg@10": score, **summary}
    records.write_text(config.folder / "export" / "chosen.json", records.to_json(chosen))
    return chosen


def _recommend(config: Config) -> dict[str, Any]:
    from antiphon import recommend

    return recommend.sample(config)


def _report(config: Config) -> dict[str, Any]:
    from antiphon import report

    return report.write(config)
