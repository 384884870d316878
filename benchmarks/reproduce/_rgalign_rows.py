"""RGAlign-Rec's rows: which ranker, told the queries of which reasoner, and how each is configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antiphon.config import Config, load
from llm_offline.alignment_config import STRATEGIES, ReasonerConfig

CONFIGS = Path(__file__).parents[2] / "configs"
NAME = "rgalign"
SEEDS, REASONERS = 5, 2
"""Seeds of the ranker, and of the reasoner's tuning."""

METRICS = ("gauc", "recall@3", "recall@5", "ndcg@3", "ndcg@5", "mrr@3", "mrr@5", "hit@3")
"""Kept of a row; hit@3 is the intent hit rate, judged by the truth that labels the test."""

ORACLE, BASELINE, WITHOUT, QE = "oracle", "two_towers", "without_query", "qe_rec"
PROBE = "probe"
"""A ridge regression from the reasoner's vectors to clicks: what they tell, however a ranker is trained."""
RAW = "last"
"""The reasoner as published, by the last token: what rankers are trained on before anything is aligned."""
FULL, PRINTED = "v2-cl", "v2-printed"
PLACED = "standardised"
"""QE-Rec that is not calibrated: the ranker of the published reasoner, asked with the tuned one's vectors, which are
standardised by their own mean and deviation in training. That asks for no label and no training; `QE` that is not
calibrated standardises them by the published one's."""
POOLINGS: Mapping[str, Mapping[str, Any]] = {
    "last": {"pooling": "last"},
    "mean": {"pooling": "mean"},
    "eos": {"pooling": "eos"},
    "query": {"vector": "query"},
}
"""Of the reasoner as published; `query` is a sentence encoder's vector of the query that is written."""
WRITTEN = "-query"
"""After a tuned reasoner's name: likewise the vector of the query that it writes."""
UNSURE = "without_confidence"
"""What one seed put above the paper's reading: this has all seeds."""
BARE = "two_towers_without_confidence"
"""The baseline for `UNSURE`."""
SWITCHES: Mapping[str, Mapping[str, Any]] = {
    **{f"omega_{omega:g}": {"omega": omega} for omega in (0.3, 0.5, 0.9)},
    "softmax_target": {"target": "softmax"},
    UNSURE: {"confidence": False},
    BARE: {"confidence": False},
}
"""QE-Rec with another weight of the query, and where the paper is open, the other reading."""
OBJECTIVES = ("cl", "printed", "dpo", "sft", "part")
"""What a reasoner is tuned by after RG-SFT: `sft` nothing, `part` cl with the negatives of each part of a batch,
`printed` cl by the cosines of vectors as they are, where `cl` takes them as `align.standardise` says."""


@dataclass(frozen=True, order=True)
class Row:
    """One ranker, evaluated once."""

    model: str  # oracle | two_towers | without_query | qe_rec | standardised | probe | one of SWITCHES
    reasoner: str = RAW  # one of POOLINGS, or <strategy>-<objective>, with WRITTEN or not
    calibrated: bool = True  # trained on the reasoner's vectors; else on RAW's, and only asked with the reasoner's
    tuning: int = 0  # the seed of the reasoner's tuning; 0 is untuned
    seed: int = 1

    def __str__(self) -> str:
        told = [self.model] if self.model in (ORACLE, BASELINE, BARE, WITHOUT) else [self.model, self.reasoner]
        if self.tuning:
            told.append("calibrated" if self.calibrated else "not calibrated")
            told.append(f"tuning {self.tuning}")
        return " · ".join([*told, f"seed {self.seed}"])

    @property
    def name(self) -> str:
        """Of its evaluation."""
        told = [self.model, self.asked, *([] if self.calibrated else ["raw"]), str(self.seed)]
        return "-".join(told)

    @property
    def asked(self) -> str:
        """Whose vectors it is asked with: a folder's name."""
        return f"{self.reasoner}-{self.tuning}" if self.tuning else self.reasoner

    @property
    def trained_on(self) -> str:
        """Whose vectors it is trained on."""
        return self.asked if self.calibrated else RAW

    @property
    def kind(self) -> Row:
        """The row for all its seeds."""
        return replace(self, seed=1, tuning=min(self.tuning, 1))


def rows(seeds: int = SEEDS, tunings: int = REASONERS) -> list[Row]:
    """All of the page's. Of the tunings after the first is V2 with RG-CL alone, which the paper's claims are about."""
    found, each = [Row(ORACLE)], range(1, seeds + 1)
    for seed in each:
        found += [Row(model, seed=seed) for model in (BASELINE, WITHOUT)]
        found += [Row(QE, pooling, seed=seed) for pooling in POOLINGS]
    found += [Row(PROBE, pooling) for pooling in POOLINGS]
    for tuning in range(1, tunings + 1):
        first = tuning == 1
        by_cl = [f"{strategy}-cl" for strategy in STRATEGIES] if first else [FULL]
        found += [Row(PLACED, name, False, tuning, seed) for name in by_cl for seed in each]
        found += [Row(QE, FULL, False, tuning, seed) for seed in each]
        for name in (FULL, "v2-dpo", "v1-cl", FULL + WRITTEN) if first else (FULL,):
            found += [Row(QE, name, True, tuning, seed) for seed in each]
        found += [Row(PROBE, name, True, tuning) for name in ((*by_cl, "v2-dpo") if first else by_cl)]
    found += [Row(PLACED, PRINTED, False, 1, seed) for seed in each]
    found += [Row(QE, PRINTED, True, 1, seed) for seed in each]
    found += [Row(PROBE, PRINTED, True, 1)]
    found += [Row(UNSURE, FULL, True, 1, seed) for seed in each]
    return found + [Row(model, seed=seed) for model in SWITCHES for seed in (each if model in (UNSURE, BARE) else (1,))]


def further(seeds: int = SEEDS, tunings: int = REASONERS) -> list[Row]:
    """Rows that are done where they are named alone: RG-SFT without more, the negatives of a part of a batch, and V3
    and V4 calibrated."""
    found = []
    for tuning in range(1, tunings + 1):
        for seed in range(1, seeds + 1):
            found += [Row(PLACED, "v2-sft", False, tuning, seed)]
            names = ("v2-sft", "v2-part", "v3-cl", "v4-cl")
            found += [Row(QE, name, True, tuning, seed) for name in names]
    return found


@dataclass(frozen=True)
class Step:
    """Two kinds of rows, the second meant to be above the first."""

    below: Row
    above: Row
    about: str
    primary: bool = False  # one of those that the paper claims, decided on before the rows were made


ALIGNED, WHOLE = Row(PLACED, FULL, False, 1), Row(QE, FULL, True, 1)
STEPS = (
    Step(Row(BASELINE), Row(QE), "baseline < QE-Rec", True),
    Step(Row(QE), ALIGNED, "QE-Rec < aligned (SFT & CL)", True),
    Step(ALIGNED, WHOLE, "aligned < aligned and calibrated", True),
    Step(Row(QE), WHOLE, "QE-Rec < aligned and calibrated"),
    Step(Row(WITHOUT), Row(QE), "QE-Rec without a query < QE-Rec"),
    Step(Row(QE, FULL, False, 1), ALIGNED, "aligned: standardised as published < by its own"),
    Step(Row(QE, "v2-dpo", True, 1), WHOLE, "SFT & DPO < SFT & CL, both calibrated"),
    Step(Row(QE, "query"), Row(QE), "QE-Rec: sentence encoder < last token"),
    Step(Row(QE, "mean"), Row(QE), "QE-Rec: mean < last token"),
    Step(Row(QE, "eos"), Row(QE), "QE-Rec: end of sequence < last token"),
    Step(Row(QE, FULL + WRITTEN, True, 1), WHOLE, "calibrated: sentence encoder < last token"),
    Step(Row(QE, "v1-cl", True, 1), WHOLE, "calibrated: V1 < V2"),
    Step(Row(PLACED, PRINTED, False, 1), ALIGNED, "aligned: cosines as printed < of standardised vectors"),
    Step(Row(QE, PRINTED, True, 1), WHOLE, "calibrated: cosines as printed < of standardised vectors"),
    Step(Row(QE), Row(UNSURE), "QE-Rec < QE-Rec without the confidence predictor"),
    Step(Row(BARE), Row(UNSURE), "without the predictor: baseline < QE-Rec"),
    Step(Row(UNSURE), Row(UNSURE, FULL, True, 1), "without the predictor: QE-Rec < aligned and calibrated"),
)
"""The paper's order, each step with a paired test."""


def config(runs: Path) -> Config:
    """The world that all rows share."""
    whole = load(CONFIGS / "chatbot.yaml")
    chat = replace(whole.chat, path=str(runs / f"{NAME}_log"))
    align = replace(whole.align, sessions=str(runs / NAME / "session_texts"))
    return replace(whole, name=NAME, runs=str(runs), chat=chat, align=align)


def ranker(whole: Config, row: Row) -> Any:
    """The settings of a row's ranker."""
    found = whole.rankers[{BARE: BASELINE}.get(row.model, row.model if row.model in whole.rankers else QE)]
    towers = replace(found.towers, **SWITCHES.get(row.model, {}))
    return replace(found, towers=towers, seed=row.seed)


def reasoner(whole: Config, row: Row) -> ReasonerConfig:
    """The settings of what makes a row's vectors."""
    kind = row.reasoner if not row.tuning else "query" if row.reasoner.endswith(WRITTEN) else RAW
    return replace(whole.align.reasoner, **POOLINGS[kind])
