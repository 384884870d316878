"""The stages of a run: what each reads, builds on and makes, and when it need not be done again."""

from __future__ import annotations

import glob
import os
import shutil
import time
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from antiphon import chatbot, choice, conversion, records, refresh, work
from antiphon.config import ITEM_TEXT, UNIVERSAL, Config
from antiphon.records import Record
from antiphon.stage import Stage
from feature_store import folders
from feature_store.checks import require
from feature_store.config import DataConfig


def plan(config: Config) -> list[Stage]:
    """The stages of a run, each after those it builds on."""
    if config.chat.path:
        return chatbot.plan(config)
    text = ("embed",) if config.uses_knowledge else ()
    raw = sources(config.data)
    stages = [
        Stage("ingest", ("ingest",), (), [_data_settings(config), raw], ("tables",), work.ingest, version=2)
    ]
    if config.rankers:
        return conversion.plan(config, [*stages, *(group_stages(config) if config.profiles is not None else [])])
    stages += [embed_stage(config)] if text else []
    stages += [
        Stage("features", ("features",), ("ingest", *text), config.features, ("features",), work.features),
        Stage("examples", ("examples",), ("ingest", "features"), [_examples_settings(config), config.features],
              ("examples",), work.examples, version=2),
    ]  # fmt: skip
    stages += [_knowledge_stage(config, source) for source in config.sources]
    stages += group_stages(config) if config.profiles is not None else []
    stages += [prompts_stage(config)] if config.uses_prompts else []
    each = {variant: training_stages(config, variant) for variant in _in_order(config)}
    stages += [stage for some in each.values() for stage in some]
    ends = {variant: each[variant][-1].name for variant in config.variants}
    trained = tuple(ends.values())
    evaluated = tuple(f"evaluation/{name}" for name in ("popularity", *config.variants))
    stages += [
        Stage("evaluate", ("evaluate",), ("examples", *trained), config.evaluate, evaluated, work.evaluate),
        Stage("export", ("export",), ("examples", *choice.needs(config.export, ends)),
              [config.export.writing, config.index], ("export/chosen.json",), work.export),
        Stage("recommend", ("recommend", "--save"), ("ingest", "features", "export"), None,
              ("recommendations.json",), work.recommend),
    ]  # fmt: skip
    before = tuple(stage.name for stage in stages)
    return [*stages, Stage("report", ("report",), before, None, ("report.html",), work.report)]


def embed_stage(config: Config) -> Stage:
    settings = _encoder(_plain(config.embed))
    return Stage("embed", ("embed",), ("ingest",), settings, ("knowledge/item_text",), work.embed)


def prompts_stage(config: Config) -> Stage:
    settings = [config.prompts, config.llm.model, config.llm.layers]
    return Stage("prompts", ("prompts",), (), settings, ("knowledge/codebook",), work.prompts)


def _knowledge_stage(config: Config, source: str) -> Stage:
    told = _plain(config.sources[source])
    told |= {name: _encoder(told[name]) for name in ("reader", "encoder")}
    settings = [told, config.features.online]
    parts = ("users", "shards", "features", *(() if config.sources[source].kind == "template" else ("items",)))
    products = tuple(f"knowledge/{source}/{folder}" for folder in parts)
    command = ("knowledge", "--source", source)
    needs = ("ingest", "examples")
    return Stage(f"knowledge-{source}", command, needs, settings, products, work.knowledge(source), version=2)


def group_stages(config: Config) -> list[Stage]:
    """Profiles, the groups that are made of them, and what is known of these."""
    made = ("profiles/users", "profiles/dead_letter")
    return [
        Stage("profiles", ("profiles",), ("ingest",), config.profiles, made, work.profiles),
        Stage("groups", ("groups",), ("profiles",), [config.groups, _kept_groups(config)], ("groups",), work.groups),
        Stage("priors", ("priors",), ("ingest", "groups"), [config.priors, config.features.online], ("priors",),
              work.priors),
    ]  # fmt: skip


def _kept_groups(config: Config) -> list[Any]:
    """The manifest of the groups that are kept, by name, size and time of change."""
    return work.file_identity(Path(config.groups.keep) / folders.MANIFEST) if config.groups.keep else []


def training_stages(config: Config, variant: str) -> list[Stage]:
    """What trains a variant: one stage, or those of its rounds."""
    if config.variants[variant].coco.refresh:
        return refresh.stages(config, variant)
    return [_train_stage(config, variant)]


def needed(config: Config, variant: str) -> list[Stage]:
    """All that a variant's training builds on, and its training."""
    wanted, found = {stage.name for stage in training_stages(config, variant)}, []
    for stage in reversed(plan(config)):
        if stage.name in wanted:
            wanted |= set(stage.needs)
            found.append(stage)
    return found[::-1]


def _train_stage(config: Config, variant: str) -> Stage:
    settings = config.variants[variant]
    needs = ("examples",)
    if known := settings.model.knowledge:
        needs += ("embed",) if known == ITEM_TEXT else (f"knowledge-{known}",)
    needs += ("prompts",) if settings.coco.enabled and settings.coco.prompts == UNIVERSAL else ()
    needs += (f"train-{settings.start_from}",) if settings.start_from in config.variants else ()
    needs += (f"knowledge-{settings.coco.source}",) if settings.coco.stored else ()
    needs = tuple(dict.fromkeys(needs))
    products = (f"models/{variant}/history.json", f"models/{variant}/checkpoints")
    command = ("train", "--variant", variant)
    identity = work.train_identity(variant)
    reads: Any = _without(_plain(settings), start_from="")
    if settings.start_from and settings.start_from not in config.variants:
        reads = [reads, work.start_file(settings)]
    if settings.coco.live:
        reads = [reads, config.llm, work.prompts_file(settings)]
    # With a side process of its own, that one's end comes after the trainer's.
    grace = settings.grace_seconds * (2 if settings.coco.live else 1)
    return Stage(f"train-{variant}", command, needs, reads, products, work.train(variant), identity, grace=grace)


def _in_order(config: Config) -> list[str]:
    """The variants, each after the one it starts from."""
    done: list[str] = []
    for variant in config.variants:
        chain = [variant]
        while (start := config.variants[chain[-1]].start_from) in config.variants:
            chain.append(start)
        done += [name for name in reversed(chain) if name not in done]
    return done


def find(config: Config, name: str) -> list[Stage]:
    """The stages a subcommand stands for: "train" is every variant's, "knowledge" every source's.

    Raises:
        ValueError: there is no such stage.
    """
    stages = plan(config)
    if not config.chat.path:
        stages += [] if config.uses_knowledge else [embed_stage(config)]
        stages += [] if config.uses_prompts else [prompts_stage(config)]
    if name == "knowledge":
        require(bool(config.sources), "sources", "must name at least one source of knowledge", config.sources)
    if name in ("profiles", "groups", "priors"):
        require(config.profiles is not None, "profiles", "must be given", config.profiles)
    found = [stage for stage in stages if name in (stage.name, stage.command[0])]
    require(bool(found), "the stage", f"must be one of {', '.join(stage.name for stage in stages)}", name)
    return found


def fingerprint(config: Config, stage: Stage) -> str:
    """What the stage's output depends on, as a hash.

    Raises:
        ValueError: a stage it builds on has not been done.
    """
    return records.fingerprint([stage.name, stage.version, _plain(stage.settings), _inputs(config, stage)])


def holds(config: Config, stage: Stage) -> bool:
    """Whether what the stage made before is what it would make now."""
    record = records.read(config.folder, stage.name)
    if record is None or not record.done or record.fingerprint != fingerprint(config, stage):
        return False
    return record.output == records.output_hash(config.folder, stage.products)


def do(config: Config, stage: Stage) -> dict[str, Any]:
    """Do the stage in this process and record it; its record is unfinished until all it makes is in place."""
    begun, identity = fingerprint(config, stage), ""
    if stage.identity is not None:
        identity = records.fingerprint([stage.identity(config), _inputs(config, stage)])
        _make_room(config, stage, identity)
    records.write(config.folder, Record(stage.name, begun, identity))
    start = time.monotonic()
    summary = stage.work(config)
    seconds = round(time.monotonic() - start, 3)
    output = records.output_hash(config.folder, stage.products)
    if output is None:
        raise RuntimeError(f"{config.folder}: {stage.name} ended without leaving {', '.join(stage.products)}")
    content = records.by_content(config.folder, stage.products)
    records.write(config.folder, Record(stage.name, begun, identity, True, seconds, output, summary, content))
    return summary


def _make_room(config: Config, stage: Stage, identity: str) -> None:
    """Remove what the stage made from other inputs or settings: it cannot go on from there."""
    before = records.read(config.folder, stage.name)
    made = (config.folder / stage.products[0]).parent
    if made.exists() and (before is None or before.identity != identity):
        print(f"{stage.name}: {made} was made from other inputs or settings; starting afresh", flush=True)
        shutil.rmtree(made)


def _inputs(config: Config, stage: Stage) -> dict[str, list[str]]:
    inputs = {}
    for need in stage.needs:
        record = records.read(config.folder, need)
        if record is None or not record.done:
            raise ValueError(
                f"{config.folder}: {stage.name} needs {need}, which has not been done; "
                f"`antiphon run` does every stage in order"
            )
        inputs[need] = record.left
    return inputs


def _data_settings(config: Config) -> dict[str, Any]:
    return _without(_plain(config.data), impressions="", searches="")


def _examples_settings(config: Config) -> dict[str, Any]:
    settings = _without(_plain(config.examples), after=0, min_count=0, evict_days=0.0, served_log="", held="first")
    if log := config.examples.served_log:
        files = sorted(Path(log).glob("*.tfrecord*"))
        settings["served_log"] = [log, [[file.name, file.stat().st_size] for file in files]]
    return settings


def _encoder(settings: dict[str, Any]) -> dict[str, Any]:
    return _without(settings, dimensions=0)


def _without(settings: dict[str, Any], **younger: Any) -> dict[str, Any]:
    """Settings less those that have the given default: what was made before there were such ones holds."""
    return {name: value for name, value in settings.items() if name not in younger or value != younger[name]}


def _plain(settings: Any) -> Any:
    if isinstance(settings, list):
        return [_plain(part) for part in settings]
    return asdict(settings) if is_dataclass(settings) else settings


def sources(data: DataConfig) -> list[Any]:
    """The raw files, by name, size and time of change; for a data set from a wheel, the wheel's version."""
    if data.reader == "movielens_100k" and not data.path:
        try:
            return ["recbole", metadata.version("recbole")]
        except metadata.PackageNotFoundError:
            return []
    base = Path(data.path)
    logs = (data.users, data.items, data.events, data.impressions, data.searches)
    named = [os.path.join(base, pattern) for pattern in logs if pattern]
    files = [Path(name) for pattern in named for name in glob.glob(pattern, recursive=True)]
    if not named:
        files = [base] if base.is_file() else list(base.rglob("*"))
    return [
        [str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files) if file.is_file()
    ]
