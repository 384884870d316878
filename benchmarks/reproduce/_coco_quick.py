"""CoCo's table on a slice: every kind of row with small models on the example shop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from antiphon.config import Config, load
from benchmarks.reproduce import _coco_rows, backbones
from benchmarks.reproduce._quick import cut, small
from benchmarks.reproduce._rows import Reproduction, Row
from feature_store.config import DataConfig
from llm_offline.config import SourceConfig

DATA = "shop"
LENGTH = 3  # of histories: two widths (`trainer.layers.groups`)
RECIPES = (
    "best", "base", "kar", "coco_fea", "coco", "coco_soft", "coco_dec", "codes_4", "theta_0.3", "held_best",
    "held_base", "held_coco", "like_base", "like_coco",
)  # fmt: skip
"""One of each kind of row: how it starts, whose knowledge it has, what it changes of CoCo or of the language model."""

ABOUT = """\
Models of width 16 and one layer of MiniLM, trained on the example shop's 60 customers, to see that all of it works.
The figures mean nothing."""


def quick(reproduction: Reproduction) -> Reproduction:
    """Rows over SASRec as on Beauty, with the example shop in its place."""
    rows = tuple(Row(DATA, _coco_rows.SPLIT, "sasrec", recipe) for recipe in RECIPES)
    found = small(reproduction, rows, lambda row: _cut(reproduction.config(replace(row, data="beauty")), row), ABOUT)
    return replace(found, titles={**found.titles, DATA: "Example shop"})


def _cut(config: Config, row: Row) -> Config:
    variants = {}
    for name, train in config.variants.items():
        coco = train.coco
        coco = replace(coco, codes=min(coco.codes, 8), selected=min(coco.selected, 2))
        variants[name] = replace(train, coco=coco)
    config = cut(replace(config, variants=variants), row, LENGTH)
    llm = replace(config.llm, layers=1 if config.llm.layers else 2, max_titles=3, max_tokens=16, d=16)
    sources = {name: _short(source) for name, source in config.sources.items()}
    return replace(config, data=_shop(), llm=llm, sources=sources)


def _short(source: SourceConfig) -> SourceConfig:
    generate = replace(source.generate, layers=1, max_tokens=64, max_new_tokens=2)
    reader, encoder = (replace(part, layers=1) for part in (source.reader, source.encoder))
    return replace(source, max_titles=3, generate=generate, reader=reader, encoder=encoder)


def _shop() -> DataConfig:
    data = load(backbones.CONFIGS / "tiny.yaml").data
    return replace(data, path=str(backbones.CONFIGS / Path(data.path).name))
