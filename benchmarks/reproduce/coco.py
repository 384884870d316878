"""CoCo over our backbones, with its baselines, ablations and pictures: `antiphon reproduce coco`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq

from antiphon.config import Config
from benchmarks.reproduce import (
    _coco_page,
    _coco_pictures,
    _coco_published,
    _coco_quick,
    _coco_rows,
    _command,
    _plane,
    backbones,
)
from benchmarks.reproduce._rows import Reproduction, Row

USERS = 2000
"""Test users of whom m is counted, at most."""

DRAWN = 500
"""Of them, those that are laid out in a plane."""

AGES = {"under 25": (0, 25), "25 to 34": (25, 35), "35 to 49": (35, 50), "50 and over": (50, 200)}
GENDERS = {"women": "F", "men": "M"}
ACTIVITY = {"5 events": (5, 6), "6 to 8": (6, 9), "9 to 15": (9, 16), "16 and more": (16, 10**9)}

ABOUT = """\
CoCo (Mu et al., 2026): a language model and a recommender trained by one loss. On Amazon's data every row starts from
the weights of its backbone's best recipe, and is then trained for the same number of epochs: the base without a
language model, the others with one, so that a gain over the base is not one of longer training. The base's optimizer
goes on where the recipe's was; that of the others, which have new weights, starts anew. On MovieLens-100k all start at
the beginning. The language models are of a size for two cores: on Amazon's data the first three layers of MiniLM over
the vectors of a user's ten newest titles, where the paper has Qwen3-4B over tokens. What a row took is in its last
column, without the stages that rows share, such as what KAR and R⁴ec have a model write beforehand."""


def observe(row: Row, config: Config) -> Mapping[str, Any]:
    """What each epoch told; of CoCo itself also m of test users, and both spaces before training and after. Of the base
    what titles could tell."""
    train = config.variants[row.name]
    if row.recipe == "base" and row.seed == 1:
        return {"titles": _titles(row, config)}
    if not train.coco.enabled:
        return {}
    history = json.loads((config.folder / "models" / row.name / "history.json").read_text(encoding="utf-8"))
    kept = ("epoch", "helped", "prompts_selected")
    told = [{n: v for n, v in one.items() if n in kept or n.startswith("loss/")} for one in history["epochs"]]
    found: dict[str, Any] = {"epochs": told}
    if row.recipe == "coco" and row.seed == 1:
        found |= _spaces(row, config)
    return found


def _titles(row: Row, config: Config) -> dict[str, Any]:
    from benchmarks.reproduce import _coco_titles

    model, items = config.folder / "models" / row.name, config.folder / "tables" / "items.parquet"
    return _coco_titles.told(config.folder / "examples", model, items, config.embed, config.evaluate.bootstrap)


def _spaces(row: Row, config: Config) -> dict[str, Any]:
    from antiphon import llm, work
    from trainer import spaces

    examples, models = config.folder / "examples", config.folder / "models"
    before = _coco_rows.start(row) or replace(row, recipe="base")
    with llm.beside(config, row.name) as settings:
        after = spaces.trained(examples, models / row.name, settings.llm, USERS)
        drawn = {"after": after}
        if (models / before.name / "history.json").exists():
            prompts = str(work.prompts_folder(config)) if config.uses_prompts else settings.coco.prompts
            start = models / before.name
            drawn["before"] = spaces.untrained(examples, models / row.name, start, prompts, settings.llm, DRAWN)
    planes = {
        when: _plane.lay({"behaviour": one.behaviour[:DRAWN], "semantic": one.semantic[:DRAWN]})
        for when, one in sorted(drawn.items(), reverse=True)
    }
    counts = Counter((after.codes >= 0).sum(axis=1).tolist())
    sets = len({frozenset(codes) for codes in after.codes.tolist()})
    return {"selected": {str(m): counts[m] for m in sorted(counts)}, "sets": sets, "spaces": planes}


def group(row: Row, baseline: Row, config: Config) -> Mapping[str, Collection[str]]:
    """Beside the base: by age and gender where users have them, else by how many events they have."""
    if baseline.recipe != "base" or row.recipe not in _coco_pictures.BY_PROMPT:
        return {}
    users = pq.read_table(config.folder / "tables" / "users.parquet")
    if not {"age", "gender"} <= set(users.column_names):
        counts = Counter(pq.read_table(config.folder / "tables" / "events.parquet")["user_id"].to_pylist())
        return {name: {u for u, n in counts.items() if low <= n < high} for name, (low, high) in ACTIVITY.items()}
    known = users.select(["user_id", "age", "gender"]).to_pylist()
    found = {name: {u["user_id"] for u in known if u["gender"] == value} for name, value in GENDERS.items()}
    for name, (low, high) in AGES.items():
        found[name] = {u["user_id"] for u in known if u["age"] is not None and low <= u["age"] < high}
    return found


REPRODUCTION = Reproduction(
    name="coco",
    command="antiphon reproduce coco",
    title="CoCo: a language model and a recommender trained together",
    about=ABOUT,
    choices={"data": "data", "backbone": "backbone", "row": "recipe"},
    rows=_coco_rows.ROWS,
    further=_coco_rows.FURTHER_ROWS,
    config=_coco_rows.config,
    published=lambda row: _coco_published.table_1(row) or _coco_published.table_3(row),
    best_known=lambda row: None,
    aim=lambda row: None,
    baselines=_coco_rows.baselines,
    seeds=_coco_rows.seeds,
    titles={**backbones.REPRODUCTION.titles, **_coco_rows.TITLES, "ml100k": "MovieLens-100k"},
    body=_coco_page.body,
    pictures=_coco_pictures.pictures,
    slice=_coco_quick.quick,
    cost="most of them 6 to 13 minutes on one core, and hours once for what KAR and R4ec have a model write",
    minutes=_coco_rows.minutes,
    observe=observe,
    group=group,
    start=_coco_rows.start,
)


def main(argv: Sequence[str]) -> int:
    return _command.main(REPRODUCTION, argv)
