"""CoCo without a language model beside the training: rounds of stored knowledge, each refreshed where the last failed.

A round is five stages, each a process of its own with a record of its own, so that a run that was stopped goes on where
it was:

    prompts    the recommender as it is selects prompts, for all users or for those the round before failed
    knowledge  Beam asks the language model about these, with the newest adapter; the others keep what was known
    train      ``train.epochs`` epochs more, with that knowledge frozen
    failures   which users it failed (M = 0), with the gradients of their knowledge
    update     LoRA and decoupling attention learn from that log: the next round's adapter
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from antiphon import llm, records, work
from antiphon.config import ITEM_TEXT, UNIVERSAL, Config
from antiphon.stage import Stage
from antiphon.work import Work
from trainer.config import TrainConfig

STEPS = ("prompts", "knowledge", "train", "failures", "update")
FREE_TO_CHANGE = ("rounds", "cluster", "metrics_port", "keep_checkpoints", "checkpoint_minutes", "hang_seconds",
                  "grace_seconds", "llm", "patience")  # fmt: skip
"""Settings of the training that may be others when rounds are gone on with."""


def stages(config: Config, variant: str) -> list[Stage]:
    """The stages of all rounds, after one that makes the first adapter and before one that tells serving."""
    settings = config.variants[variant]
    made = {n: v for n, v in dataclasses.asdict(settings).items() if n not in FREE_TO_CHANGE}
    reads = [made, llm.identity(config), work.prompts_file(settings)]
    needs = ("ingest", "examples")
    if known := settings.model.knowledge:
        needs += ("embed",) if known == ITEM_TEXT else (f"knowledge-{known}",)
    needs += ("prompts",) if settings.coco.prompts == UNIVERSAL else ()
    models = f"models/{variant}"
    found = [
        Stage(f"refresh-{variant}-adapter", _command(variant, "adapter"), needs, reads, (f"{models}/adapter.json",),
              _adapter(variant), identity=lambda config: {"settings": reads})
    ]  # fmt: skip
    for number in range(settings.rounds):
        inside = f"{models}/refresh/{number}"
        products = {
            "prompts": (f"{inside}/prompts",),
            "knowledge": (f"{inside}/users", f"{inside}/shards"),
            "train": (f"{inside}/trained.json",),
            "failures": (f"{inside}/failures",),
            "update": (f"{inside}/adapter.json",),
        }
        for step in STEPS:
            grace = settings.grace_seconds if step == "train" else 0.0
            name = f"{number}-{step}"
            found.append(
                Stage(f"refresh-{variant}-{name}", _command(variant, name), (found[-1].name,), None, products[step],
                      _WORK[step](variant, number), grace=grace)
            )  # fmt: skip
    products, needs = (f"{models}/features",), (found[-1].name,)
    view = Stage(f"refresh-{variant}-view", _command(variant, "view"), needs, config.features.online, products,
                 _view(variant))  # fmt: skip
    return [*found, view]


def rounds(config: Config, variant: str) -> list[dict[str, Any]]:
    """What each round that is done came to, from the records of its stages."""
    found = []
    for number in range(config.variants[variant].rounds):
        kept = {step: records.read(config.folder, f"refresh-{variant}-{number}-{step}") for step in STEPS}
        if any(record is None or not record.done for record in kept.values()):
            break
        told = {step: record.summary for step, record in kept.items()}
        known, failed = told["knowledge"], told["failures"]
        found.append(
            {
                "round": number,
                "users": known["users"],
                "refreshed": known["refreshed_users"],
                "share": known["refreshed_users"] / max(known["users"], 1),
                "judged": failed["judged_users"],
                "failed": failed["failed_users"],
                "helped": failed["helped"],
                "selected": told["prompts"]["selected"],
                "adapter_version": known["adapter_version"],
                "updates": told["update"]["updates"],
                "loss": told["train"]["loss"],
                "trained_examples_per_second": told["train"]["examples_per_second"],
                "valid_ndcg@10": told["train"]["valid_ndcg@10"],
                **{name: value for name, value in failed.items() if name.startswith("loss/")},
                "users_per_second": {
                    step: summary["users_per_second"] for step, summary in told.items() if "users_per_second" in summary
                },
                "seconds": {step: record.seconds for step, record in kept.items()},
            }
        )
    return found


def tell(config: Config, variant: str) -> None:
    """Writes ``models/<variant>/rounds.json`` and prints a line a round."""
    found = rounds(config, variant)
    file = config.folder / "models" / variant / "rounds.json"
    records.write_text(file, records.to_json(found))
    for one in found:
        speeds = ", ".join(f"{step} {speed:,.1f}" for step, speed in one["users_per_second"].items())
        print(
            f"round {one['round']}: {one['refreshed']:,} of {one['users']:,} users refreshed ({one['share']:.1%}); "
            f"loss {one['loss']:.4f}, valid ndcg@10 {one['valid_ndcg@10']:.4f}; failed {one['failed']:,} of "
            f"{one['judged']:,} users, {one['helped']:.1%} of examples helped; users/s: {speeds}; "
            f"{sum(one['seconds'].values()):.0f} s"
        )
    print(f"the rounds of {variant} are in {file}", flush=True)


def stored(config: Config, variant: str) -> Path:
    """The folder of the knowledge that the best checkpoint was trained with."""
    folder = config.folder / "models" / variant
    best = json.loads((folder / "history.json").read_text(encoding="utf-8"))["summary"]["best_epoch"]
    settings = config.variants[variant]
    return _round(config, variant, (best - settings.pretrain.epochs - 1) // settings.epochs)


def _command(variant: str, step: str) -> tuple[str, ...]:
    return ("refresh", "--variant", variant, "--step", step)


def _round(config: Config, variant: str, number: int) -> Path:
    return config.folder / "models" / variant / "refresh" / str(number)


def _settings(config: Config, variant: str) -> TrainConfig:
    """For the trainer, with what the side process would tell it."""
    settings = config.variants[variant]
    about = _pointer(config.folder / "models" / variant / "adapter.json")
    changes = {name: about[name] for name in ("width", "knowledge_width", "scale")}
    if settings.coco.prompts == UNIVERSAL:
        changes["prompts"] = str(work.prompts_folder(config))
    return dataclasses.replace(settings, patience=0, coco=dataclasses.replace(settings.coco, **changes))


def _pointer(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _asked(config: Config, variant: str, number: int) -> dict[str, Any]:
    """The adapter that is asked in a round."""
    before = _round(config, variant, number - 1) if number else config.folder / "models" / variant
    return _pointer(before / "adapter.json")


def _titles(config: Config) -> list[str]:
    from llm_offline.knowledge.titles import read_titles

    return read_titles(config.folder / "tables", _vocabulary(config))


def _vocabulary(config: Config) -> Path:
    return config.folder / "examples" / "vocabulary" / "item.txt"


def _adapters(config: Config, variant: str) -> Path:
    return config.folder / "models" / variant / "llm"


def _items(config: Config, variant: str) -> Path | None:
    return work.items_folder(config, config.variants[variant].model.knowledge)


def _checkpoint(config: Config, variant: str, number: int) -> Path:
    """The recommender at the end of a round."""
    name = _pointer(_round(config, variant, number) / "trained.json")["checkpoint"]
    return config.folder / "models" / variant / "checkpoints" / name


def _adapter(variant: str) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from llm_offline.knowledge import logged

        about = logged.begin(_titles(config), _adapters(config, variant), config.llm)
        records.write_text(config.folder / "models" / variant / "adapter.json", records.to_json(about))
        return about

    return do


def _prompts(variant: str, number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from trainer import prompting

        out = _round(config, variant, number) / "prompts"
        examples, settings = config.folder / "examples", _settings(config, variant)
        if not number:
            return prompting.run(examples, _items(config, variant), None, out, settings, number)
        before = _round(config, variant, number - 1)
        asked = (_items(config, variant), _checkpoint(config, variant, number - 1), out, settings, number)
        return prompting.run(examples, *asked, before / "prompts", before / "failures")

    return do


def _knowledge(variant: str, number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from beam_jobs import refresh
        from feature_store import knowledge_shards

        here, step = _round(config, variant, number), _asked(config, variant, number)["step"]
        previous = _round(config, variant, number - 1) / "users" if number else None
        found = refresh.run(
            config.folder / "tables", _vocabulary(config), here / "prompts", _adapters(config, variant), step,
            here / "users", config.llm, config.beam, previous,
        )  # fmt: skip
        knowledge_shards.write(here / "users", config.folder / "examples", here / knowledge_shards.FOLDER)
        return found

    return do


def _train(variant: str, number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from trainer import checkpoint, train

        folder, settings = config.folder / "models" / variant, _settings(config, variant)
        epochs = settings.epochs * (number + 1)
        coco = dataclasses.replace(settings.coco, source=str(_round(config, variant, number)))
        settings = dataclasses.replace(settings, epochs=epochs, coco=coco)
        summary = train.run(config.folder / "examples", _items(config, variant), folder, settings)
        if summary["epochs"] != epochs + settings.pretrain.epochs:
            rule = f"round {number} ends after {epochs} epochs; remove {folder} to start anew"
            raise ValueError(f"{folder}: was trained for {summary['epochs']} epochs, {rule}")
        last = json.loads((folder / "history.json").read_text(encoding="utf-8"))["epochs"][-1]
        speed = round(last["examples"] / last["seconds"], 1)
        found = {"checkpoint": checkpoint.newest(folder / "checkpoints").name, "loss": last["loss"], **summary}
        found["examples_per_second"] = speed
        records.write_text(_round(config, variant, number) / "trained.json", records.to_json(found))
        return found

    return do


def _failures(variant: str, number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from trainer import judging

        here, checkpoint = _round(config, variant, number), _checkpoint(config, variant, number)
        asked = (_items(config, variant), checkpoint, here, here / "failures", _settings(config, variant))
        return judging.run(config.folder / "examples", *asked)

    return do


def _view(variant: str) -> Work:
    """What is known of each user, where serving looks it up: as training the best checkpoint knew it."""

    def do(config: Config) -> dict[str, Any]:
        from feature_store import knowledge_view

        folder = config.folder / "models" / variant / knowledge_view.FOLDER
        return knowledge_view.write(stored(config, variant) / "users", folder, config.features.online, variant)

    return do


def _update(variant: str, number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from llm_offline.knowledge import logged

        here, step = _round(config, variant, number), _asked(config, variant, number)["step"]
        folders = (_adapters(config, variant), step, here / "failures", here / "prompts")
        found = logged.update(_titles(config), *folders, config.llm)
        about = {name: value for name, value in found.items() if name in logged.DESCRIBED}
        records.write_text(here / "adapter.json", records.to_json(about))
        return found

    return do


_WORK: dict[str, Callable[[str, int], Work]] = {
    "prompts": _prompts, "knowledge": _knowledge, "train": _train, "failures": _failures, "update": _update,
}  # fmt: skip
