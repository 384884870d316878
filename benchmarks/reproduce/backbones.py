"""Five sequential backbones, each by its paper's recipe and by our best: `antiphon reproduce backbones`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from antiphon.config import Config, load
from benchmarks.reproduce import _by_data, _command
from benchmarks.reproduce._quick import quick
from benchmarks.reproduce._rows import Reference, Reproduction, Row
from feature_store.checks import one_of

CONFIGS = Path(__file__).parents[2] / "configs"
BACKBONES = ("sasrec", "bert4rec", "fdsa", "s3rec", "pinnerformer")
RECIPES = ("paper", "best")

FILES = {
    ("beauty", "sasrec", "best"): ("beauty_sasrec.yaml", "model"),
    ("beauty", "sasrec", "paper"): ("beauty_sasrec_bce.yaml", "model"),
    ("toys", "sasrec", "best"): ("toys_sasrec.yaml", "model"),
    ("toys", "sasrec", "paper"): ("toys_sasrec_bce.yaml", "model"),
}
"""Config and variant where they are not `<data>_<backbone>.yaml` and the recipe's name."""

ROWS = (
    *(Row(data, "leave_one_out", backbone, recipe)
      for data in ("beauty", "toys") for backbone in BACKBONES for recipe in RECIPES),
    *(Row("ml1m", "leave_one_out", backbone, recipe) for backbone in ("sasrec", "pinnerformer") for recipe in RECIPES),
    *(Row(data, "global_time", backbone, "best") for data in ("beauty", "toys") for backbone in BACKBONES),
)  # fmt: skip

_COCO = "CoCo (Mu et al., 2026), Table 1, base rows"
PUBLISHED = {  # R@5, N@5
    "beauty": {
        "bert4rec": (0.0203, 0.0124), "fdsa": (0.0267, 0.0163), "s3rec": (0.0387, 0.0244),
        "sasrec": (0.0387, 0.0249), "pinnerformer": (0.0516, 0.0373),
    },
    "toys": {
        "bert4rec": (0.0116, 0.0069), "fdsa": (0.0228, 0.0140), "s3rec": (0.0443, 0.0294),
        "sasrec": (0.0463, 0.0306), "pinnerformer": (0.0585, 0.0455),
    },
}  # fmt: skip
BEST_KNOWN = {
    "beauty": Reference(
        "best known",
        {"recall@5": 0.0713, "ndcg@5": 0.0509, "recall@10": 0.0986, "ndcg@10": 0.0597},
        "SASRec, full softmax, mean of 5 seeds",
    ),
    "toys": Reference("best known", {"recall@10": 0.0970, "ndcg@10": 0.0580}, "SASRec, sampled softmax"),
}

ABOUT = """\
SASRec, BERT4Rec, FDSA, S3-Rec and PinnerFormer, each trained by its paper's recipe and by the best recipe we found,
tuned on validation alone. Published and best known figures are of leave-one-out. A paper's recipe has to reach what is
published for its backbone, our best what is best known on the data."""


def config(row: Row) -> Config:
    """The row's recipe, as its file has it, with the row's split and seed.

    Raises:
        ValueError: the file has no variant of the recipe's name.
    """
    file, variant = FILES.get((row.data, row.backbone, row.recipe), (f"{row.data}_{row.backbone}.yaml", row.recipe))
    whole = load(CONFIGS / file)
    one_of(f"{file}: the variant of {row}", variant, tuple(whole.variants))
    train = replace(whole.variants[variant], seed=row.seed)
    examples = replace(whole.examples, split=row.split)
    return replace(whole, name=row.folder, examples=examples, train=train, variants={row.name: train})


def published(row: Row) -> Reference | None:
    if row.split != "leave_one_out" or row.data not in PUBLISHED:
        return None
    recall, gain = PUBLISHED[row.data][row.backbone]
    return Reference("published", {"recall@5": recall, "ndcg@5": gain}, _COCO)


def best_known(row: Row) -> Reference | None:
    return BEST_KNOWN.get(row.data) if row.split == "leave_one_out" else None


def aim(row: Row) -> Reference | None:
    """What is published for a paper's recipe, the best known for ours."""
    return published(row) if row.recipe == "paper" else best_known(row)


def baselines(row: Row) -> Sequence[Row]:
    """SASRec's best recipe, for every other backbone's."""
    other = row.recipe == "best" and row.seed == 1 and row.backbone != "sasrec"
    return [replace(row, backbone="sasrec")] if other else []


def seeds(row: Row) -> int:
    several = row.data == "beauty" and row.split == "leave_one_out" and row.recipe == "best"
    return 3 if several and row.backbone in ("sasrec", "pinnerformer") else 1


REPRODUCTION = Reproduction(
    name="backbones",
    command="antiphon reproduce backbones",
    title="Five sequential backbones",
    about=ABOUT,
    choices={name: name for name in ("data", "backbone", "recipe", "split")},
    rows=ROWS,
    config=config,
    published=published,
    best_known=best_known,
    aim=aim,
    baselines=baselines,
    seeds=seeds,
    titles={
        "beauty": "Amazon Beauty", "toys": "Amazon Toys and Games", "ml1m": "MovieLens-1M",
        "sasrec": "SASRec", "bert4rec": "BERT4Rec", "fdsa": "FDSA", "s3rec": "S3-Rec", "pinnerformer": "PinnerFormer",
    },
    body=_by_data.body,
    pictures=_by_data.pictures,
    slice=quick,
    cost="on two cores from ten minutes to hours each",
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    return _command.main(REPRODUCTION, argv)
