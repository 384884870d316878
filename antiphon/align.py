"""The chatbot's ranker and its reasoner teach each other (RGAlign-Rec §4): stages of rounds, each resumable.

Round 0 embeds every session with the reasoner as it was published, and trains rankers on that. Each further round:

    candidates  every teacher writes queries for the sessions to train on
    vectors     the reasoner places these, and with v3 and v4 the intents, in its own space
    reward      rankers that were not trained on a session judge its candidates
    best        Best-of-N chooses what to learn from
    sft         the reasoner learns to write it
    refine      and to think near it (cl), or to prefer it (dpo)
    embed       the sessions' vectors with the tuned reasoner
    rank        rankers trained anew on these: the next round's judges

Rankers are another room's: `align.ranker` names a module with the functions of `align_ranker.Ranker`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from antiphon import records
from antiphon.align_ranker import Ranker
from antiphon.config import Config
from antiphon.stage import Stage
from antiphon.work import Work
from feature_store import folders
from feature_store.checks import require
from llm_offline.alignment_config import TeacherConfig

FIRST, ROUND = ("embed", "rank"), ("candidates", "vectors", "reward", "best", "sft", "refine", "embed", "rank")
"""Steps of round 0 and of every further one."""


def stages(config: Config) -> list[Stage]:
    """Of all rounds."""
    found = _round(config, 0, FIRST, None)
    for number in range(1, config.align.rounds + 1):
        found += _round(config, number, ROUND, found[-1].name)
    return found


def stage(config: Config, step: str) -> Stage:
    """The one of the name "1-sft".

    Raises:
        ValueError: there is none.
    """
    names = {each.name.removeprefix("align-"): each for each in stages(config)}
    require(step in names, "--step", f"must be one of {', '.join(names)}", step)
    return names[step]


def check(config: Config) -> None:
    """That all which the rounds need from outside is there, before anything is begun.

    Raises:
        ValueError: no sessions, no such module, a teacher's key or file that is not there.
        DataError: the sessions' folder is not whole.
    """
    from feature_store import alignment_tables
    from llm_offline.alignment.teachers import teacher

    align = config.align
    require(bool(align.sessions), "align.sessions", "must be a folder of session texts", align.sessions)
    alignment_tables.read_manifest(Path(align.sessions), "session_texts")
    require(bool(align.ranker), "align.ranker", "must be a module that trains rankers", align.ranker)
    try:
        there = importlib.util.find_spec(align.ranker) is not None
    except ModuleNotFoundError:
        there = False
    require(there, "align.ranker", "must be a module that can be imported", align.ranker)
    for name, settings in align.teachers.items():
        if settings.kind == "ranker":
            asked = hasattr(ranker(config), "questions")
            require(asked, "align.ranker", f"must be a module with questions, for the teacher {name!r}", align.ranker)
        else:
            teacher(settings, align.reasoner)


def tell(config: Config) -> None:
    """Writes ``align/rounds.json`` and prints a line a round."""
    found = rounds(config)
    file = config.folder / "align" / "rounds.json"
    records.write_text(file, records.to_json(found))
    for one in found:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in one["metrics"].items())
        text = f"round {one['round']}: reasoner {one['adapter_version']}; {metrics or 'no metrics'}"
        if best := one.get("best"):
            text += f"; {best['samples']:,} samples of {best['sessions']:,} sessions, {best['tie_rate']:.1%} tied"
        print(f"{text}; {sum(one['seconds'].values()):.0f} s")
    print(f"the rounds are in {file}", flush=True)


def rounds(config: Config) -> list[dict[str, Any]]:
    """What each round that is done came to, from the records of its stages."""
    found = []
    for number in range(config.align.rounds + 1):
        steps = ROUND if number else FIRST
        kept = {step: records.read(config.folder, _name(number, step)) for step in steps}
        if any(record is None or not record.done for record in kept.values()):
            break
        told = {step: record.summary for step, record in kept.items()}
        found.append(
            {
                "round": number,
                "adapter_version": told["embed"]["adapter_version"],
                "metrics": told["rank"].get("metrics", {}),
                **{step: told[step] for step in ROUND if step in told},
                "seconds": {step: record.seconds for step, record in kept.items()},
            }
        )
    return found


def _round(config: Config, number: int, steps: tuple[str, ...], before: str | None) -> list[Stage]:
    found: list[Stage] = []
    for step in steps:
        # A round builds on all that it has made: the record of one stage holds those of the stages before it.
        needs = (found[-1].name,) if found else (before,) if before else ()
        products: tuple[str, ...] = (f"align/{number}/{_PRODUCTS.get(step, step)}",)
        if step == "vectors" and _looks(config):
            products += (f"align/{number}/intents",)
        command = ("align", "--step", f"{number}-{step}")
        found.append(Stage(_name(number, step), command, needs, _settings(config, step), products, _WORK[step](number)))
    return found


def _name(number: int, step: str) -> str:
    return f"align-{number}-{step}"


_PRODUCTS = {"reward": "rewards", "embed": "queries", "rank": "rankers"}
"""Of those steps whose folder has another name than they."""


def _settings(config: Config, step: str) -> Any:
    """What of the config a step reads."""
    align = config.align
    if step in ("embed", "vectors"):
        return [align.reasoner, _version(config), *([_looks(config)] if step == "vectors" else [])]
    if step in ("rank", "reward"):
        placed = ["placed"] if align.place and step == "reward" else []
        return [align.ranker, align.folds, ranker(config).settings(config), *placed]
    if step == "candidates":
        return [align.reasoner, {name: asdict(each) for name, each in align.teachers.items()}, align.limit]
    if step == "best":
        return [align.strategy, align.margins, align.pairs, align.any_length, list(align.preferred)]
    refined = [align.refine, *(["standardise"] if align.standardise else [])] if step == "refine" else []
    return [align.reasoner, _tune(config, step).kept(), *refined]


def _tune(config: Config, step: str) -> Any:
    return config.align.sft if step == "sft" else config.align.refinement


def _version(config: Config) -> str:
    """Of the sessions."""
    texts = Path(config.align.sessions)
    return folders.version(texts) if (texts / folders.MANIFEST).is_file() else ""


def _looks(config: Config) -> bool:
    """Whether Best-of-N looks at the golden intent."""
    return config.align.strategy in ("v3", "v4")


def ranker(config: Config) -> Ranker:
    """The module that `align.ranker` names."""
    return importlib.import_module(config.align.ranker)


def folder(config: Config, number: int) -> Path:
    """Of one round."""
    return config.folder / "align" / str(number)


def adapter(config: Config, number: int) -> Path | None:
    """The reasoner's after a round; None is as it was published."""
    return folder(config, number) / "refine" if number else None


def _embed(number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from beam_jobs import queries

        out, align = folder(config, number) / "queries", config.align
        sessions, mine = Path(align.sessions), adapter(config, number)
        return queries.of_sessions(sessions, out, align.reasoner, config.beam, mine)

    return do


def _rank(number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        here = folder(config, number)
        return ranker(config).train(config, here / "queries", here / "rankers")

    return do


def _candidates(number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from llm_offline.alignment import candidates
        from llm_offline.alignment.teachers import teacher

        align, mine = config.align, adapter(config, number - 1)
        rankers, out = folder(config, number - 1) / "rankers", folder(config, number) / "candidates"
        asked = questioned(config, rankers, out.parent)
        teachers = {name: teacher(settings, align.reasoner, mine) for name, settings in asked.items()}
        sessions = Path(align.sessions)
        return candidates.run(sessions, out, teachers, align.own, limit=align.limit)

    return do


def questioned(config: Config, rankers: Path, out: Path) -> dict[str, TeacherConfig]:
    """The teachers; in the place of one of kind ``ranker`` the file, in ``out``, of what those of ``rankers`` ask."""
    found = dict(config.align.teachers)
    for name, settings in config.align.teachers.items():
        if settings.kind == "ranker":
            file = out / f"{name}.jsonl"
            ranker(config).questions(config, rankers, file, settings.samples)
            found[name] = replace(settings, kind="file", file=str(file))
    return found


def _vectors(number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from beam_jobs import queries

        here, align, mine = folder(config, number), config.align, adapter(config, number - 1)
        asked = (align.reasoner, config.beam, mine)
        found = queries.of_candidates(here / "candidates", here / "vectors", *asked)
        if _looks(config):
            found["intents"] = queries.of_intents(Path(align.sessions), here / "intents", *asked)
        return found

    return do


def _reward(number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        here, before = folder(config, number), folder(config, number - 1)
        parts = (here / "candidates", here / "vectors", before / "rankers", here / "rewards")
        return ranker(config).reward(config, *parts)

    return do


def _best(number: int) -> Work:
    def do(config: Config) -> dict[str, Any]:
        from llm_offline.alignment import best_of_n

        here, align = folder(config, number), config.align
        looks = {"vectors": here / "vectors", "intents": here / "intents"} if _looks(config) else {}
        return best_of_n.run(
            Path(align.sessions), here / "candidates", here / "rewards", here / "best", align.strategy, align.preferred,
            align.margins, align.any_length, most_pairs=align.pairs, **looks,
        )  # fmt: skip

    return do


def _tuned(step: str) -> Callable[[int], Work]:
    def work(number: int) -> Work:
        def do(config: Config) -> dict[str, Any]:
            from llm_offline.alignment import refinement

            here, align = folder(config, number), config.align
            objective, start = ("sft", adapter(config, number - 1)) if step == "sft" else (align.refine, here / "sft")
            vectors = here / "vectors" if objective == "cl" else None
            asked = folder(config, number - 1) / "queries" if objective == "cl" and align.standardise else None
            return refinement.run(
                objective, Path(align.sessions), here / "candidates", here / "best", vectors, here / step,
                align.reasoner, _tune(config, step), start, asked,
            )  # fmt: skip

        return do

    return work


_WORK: dict[str, Callable[[int], Work]] = {
    "embed": _embed, "rank": _rank, "candidates": _candidates, "vectors": _vectors, "reward": _reward, "best": _best,
    "sft": _tuned("sft"), "refine": _tuned("refine"),
}  # fmt: skip
