"""What each stage calls. Rooms are imported within, so that no process loads TensorFlow or torch in vain."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from antiphon import choice, records
from antiphon.config import ITEM_TEXT, UNIVERSAL, Config
from feature_store import folders
from serving.config import IndexConfig
from trainer.config import TrainConfig

Work = Callable[[Config], dict[str, Any]]


def ingest(config: Config) -> dict[str, Any]:
    """Raw logs become checked tables; rows that break a rule go to dead letters."""
    from beam_jobs import ingest

    return ingest.run(config.data, config.folder / "tables", config.beam)


def embed(config: Config) -> dict[str, Any]:
    """Vectors of the items' texts, of those alone that have changed."""
    from beam_jobs import embed

    return embed.run(config.folder / "tables", text_folder(config), config.embed, config.beam)


def features(config: Config) -> dict[str, Any]:
    """The views of features, offline and online; with the items' text vectors where a variant reads them."""
    from beam_jobs import materialize

    knowledge = text_folder(config) if config.uses_knowledge else None
    out = config.folder / "features"
    return materialize.run(config.folder / "tables", knowledge, out, config.features, config.beam)


def examples(config: Config) -> dict[str, Any]:
    """Training rows with what was known just before each, split and in shards."""
    from feature_store import examples

    tables, out = config.folder / "tables", config.folder / "examples"
    return examples.write(tables, config.folder / "features", out, config.examples, config.features)


def prompts(config: Config) -> dict[str, Any]:
    """The universal prompts, each as one vector among the language model's token embeddings."""
    from llm_offline.knowledge import codebook

    return codebook.write(prompts_folder(config), config.llm, config.prompts)


def prompts_folder(config: Config) -> Path:
    """Where the universal prompts lie."""
    return config.folder / "knowledge" / "codebook"


def knowledge(source: str) -> Work:
    """The work of computing one source of knowledge."""

    def work(config: Config) -> dict[str, Any]:
        from beam_jobs import knowledge
        from feature_store import knowledge_view

        tables, examples, out = config.folder / "tables", config.folder / "examples", source_folder(config, source)
        made = knowledge.run(tables, examples, out, config.sources[source], config.beam)
        view = knowledge_view.write(out / "users", out / knowledge_view.FOLDER, config.features.online, source)
        return {**made, "view": view}

    return work


def profiles(config: Config) -> dict[str, Any]:
    """What a language model says of each user, and its vector."""
    from beam_jobs import profiles

    return profiles.run(config.folder / "tables", config.folder / "profiles", config.profiles, config.beam)


def groups(config: Config) -> dict[str, Any]:
    """Each user's group in a hierarchy that is learnt from the profiles."""
    from beam_jobs import groups

    return groups.run(config.folder / "profiles", config.folder / "groups", config.groups, config.beam)


def priors(config: Config) -> dict[str, Any]:
    """What the users of each group have in common, with or without the user that it is looked up for."""
    from beam_jobs import priors

    tables, groups, out = config.folder / "tables", config.folder / "groups", config.folder / "priors"
    return priors.run(tables, groups, out, config.priors, config.features.online, config.beam)


def train(variant: str) -> Work:
    """The work of training one variant."""

    def work(config: Config) -> dict[str, Any]:
        from antiphon import llm
        from trainer import train

        with llm.beside(config, variant) as settings:
            coco = settings.coco
            if coco.prompts == UNIVERSAL:
                coco = dataclasses.replace(coco, prompts=str(prompts_folder(config)))
            settings = dataclasses.replace(settings, coco=dataclasses.replace(coco, source=_stored(config, variant)))
            if settings.start_from in config.variants:
                settings = dataclasses.replace(settings, start_from=str(config.folder / "models" / settings.start_from))
            knowledge = items_folder(config, settings.model.knowledge)
            return train.run(config.folder / "examples", knowledge, config.folder / "models" / variant, settings)

    return work


def train_identity(variant: str) -> Work:
    """What of a variant's settings makes it another model: a checkpoint made with others is no start."""

    def identity(config: Config) -> dict[str, Any]:
        from antiphon import llm
        from trainer.train import FREE_TO_CHANGE

        settings = dataclasses.asdict(config.variants[variant])
        found = {name: value for name, value in settings.items() if name not in FREE_TO_CHANGE}
        if not found["start_from"]:
            del found["start_from"]  # what was trained before there was one can be gone on with
        if config.variants[variant].coco.live:
            found["prompts"] = prompts_file(config.variants[variant])
            found["llm"] = llm.identity(config)
        return found

    return identity


def prompts_file(settings: TrainConfig) -> list[Any]:
    """The file of CoCo's prompts, or their folder's manifest, by name, size and time of change."""
    file = Path(settings.coco.prompts)
    return file_identity(file / folders.MANIFEST if file.is_dir() else file)


def start_file(settings: TrainConfig) -> list[Any]:
    """What says that the model in a folder to start from is trained, by name, size and time of change."""
    return file_identity(Path(settings.start_from) / "history.json")


def file_identity(file: Path) -> list[Any]:
    """Name, size and time of change; nothing where there is no such file."""
    return [str(file), file.stat().st_size, file.stat().st_mtime_ns] if file.is_file() else []


def evaluate(config: Config) -> dict[str, Any]:
    """Every variant and the ranking by popularity; then every variant against the first, user by user."""
    from antiphon import explanations, llm
    from trainer import evaluate
    from trainer.cluster import roles

    data, folder = config.folder / "examples", config.folder / "evaluation"
    summary: dict[str, Any] = {}
    with roles.runtime(config.evaluate.cluster, folder / "cluster") as runtime:
        summary["popularity"] = evaluate.popularity(data, folder / "popularity", config.evaluate)
        for variant in config.variants:
            model = config.folder / "models" / variant
            with llm.beside(config, variant) as settings:
                asked = (settings.llm, _stored(config, variant))
                summary[variant] = evaluate.run(data, model, folder / variant, config.evaluate, runtime, *asked)
            for example in explanations.read(config, variant):
                print(explanations.show(example))
    baseline, *others = config.variants
    for variant in others:
        out = comparison_file(config, variant)
        summary[f"{variant} against {baseline}"] = evaluate.compare(
            folder / baseline, folder / variant, out, config.evaluate
        )
    return summary


def comparison_file(config: Config, variant: str) -> Path:
    """Where `variant` is compared with the first one."""
    name = "comparison.json" if len(config.variants) == 2 else f"comparison_{variant}.json"
    return config.folder / "evaluation" / name


def export(config: Config) -> dict[str, Any]:
    """The variant that the config names, else the one with the best NDCG@10 on validation."""
    from trainer import export

    variant, scores = choice.choose(config.folder / "models", dict.fromkeys(config.variants, "ndcg@10"), config.export)
    model, out = config.folder / "models" / variant, config.folder / "export" / variant
    settings = (config.export, indexer(config.index))
    summary = export.run(config.folder / "examples", model, out, *settings, made_by=tell_once(config, variant))
    asked = bool(config.export.variant)
    chosen = {"variant": variant, "asked": asked, "valid_ndcg@10": scores, **summary}
    records.write_text(config.folder / "export" / "chosen.json", records.to_json(chosen))
    return chosen


def tell_once(config: Config, variant: str, view: str = "") -> dict[str, str] | None:
    """Has a language model that was trained along tell of every user, for serving to look up; what made that.

    Args:
        view: tells what is looked up from others in a store that they share; "" is the variant's name.
    """
    if not config.variants[variant].coco.live:
        return None
    from antiphon import llm
    from feature_store import knowledge_view
    from trainer import knowing

    model = config.folder / "models" / variant
    with llm.beside(config, variant) as settings:
        found = knowing.run(config.folder / "examples", model, model / "knowledge", settings.llm)
    knowledge_view.write(model / "knowledge", model / knowledge_view.FOLDER, config.features.online, view or variant)
    return found["made_by"]


def view_folder(config: Config, variant: str) -> Path | None:
    """The knowledge view that serving looks users up in, for a variant that adds knowledge of them."""
    from feature_store import knowledge_view

    coco = config.variants[variant].coco
    if coco.live or coco.refresh:
        return config.folder / "models" / variant / knowledge_view.FOLDER
    return source_folder(config, coco.source) / knowledge_view.FOLDER if coco.source else None


def indexer(index: IndexConfig) -> Callable[[Path, Any], dict[str, Any]] | None:
    """What `trainer.export` is to write a version's retrieval index with; None where it is to have none."""
    if index.kind == "none":
        return None

    def write(folder: Path, scoring: Any) -> dict[str, Any]:
        from serving import index_build

        return index_build.write(folder, scoring.ids, scoring.items, scoring.users, index)

    return write


def chosen(config: Config) -> dict[str, Any]:
    """What `export` chose: variant, version, path.

    Raises:
        ValueError: nothing has been exported.
    """
    path = config.folder / "export" / "chosen.json"
    if not path.is_file():
        raise ValueError(f"{path}: there is no exported model; `antiphon export` makes it")
    return json.loads(path.read_text(encoding="utf-8"))


def recommend(config: Config) -> dict[str, Any]:
    """Answers for a sample of users by a real server, for the report."""
    from antiphon import recommend

    return recommend.sample(config)


def report(config: Config) -> dict[str, Any]:
    """The run as one HTML file."""
    from antiphon import report

    return report.write(config)


def text_folder(config: Config) -> Path:
    """Where the items' text vectors lie."""
    return config.folder / "knowledge" / "item_text"


def source_folder(config: Config, source: str) -> Path:
    """Where one source's knowledge lies: ``users/``, and ``items/`` where it has any."""
    return config.folder / "knowledge" / source


def items_folder(config: Config, knowledge: str) -> Path | None:
    """Where what is known of the items lies, by the name that ``model.knowledge`` gives it."""
    if knowledge in ("", ITEM_TEXT):
        return text_folder(config) if knowledge else None
    return source_folder(config, knowledge) / "items"


def _stored(config: Config, variant: str) -> str:
    """The folder of the source whose stored knowledge a variant is trained with; "" with none."""
    if config.variants[variant].coco.refresh:
        from antiphon import refresh

        return str(refresh.stored(config, variant))
    source = config.variants[variant].coco.source
    return str(source_folder(config, source)) if source else ""
