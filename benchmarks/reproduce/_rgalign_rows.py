"""RGAlign-Rec's rows: which ranker, told the queries of which reasoner, and how each is configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
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
RAW = "last"
"""The reasoner as published, by the last token: what rankers are trained on before anything is aligned."""
FULL, STANDARD, SLOW = "v2-cl", "v2-scl", "v2-slow"
PLACED = "standardised"
"""QE-Rec that is not calibrated, the tuned reasoner's vectors being standardised by their own mean and deviation in
training instead of the published one's: that asks for no label and no training."""
POOLINGS: Mapping[str, Mapping[str, Any]] = {
    "last": {"pooling": "last"},
    "mean": {"pooling": "mean"},
    "eos": {"pooling": "eos"},
    "query": {"vector": "query"},
}
"""Of the reasoner as published; `query` is a sentence encoder's vector of the query that is written."""
WRITTEN = "-query"
"""After a tuned reasoner's name: likewise the vector of the query that it writes."""
UNSURE, EVEN = "without_confidence", "omega_0.5"
"""What one seed put above the paper's reading: these have all seeds."""
BARE = "two_towers_without_confidence"
"""The baseline for `UNSURE`."""
SWITCHES: Mapping[str, Mapping[str, Any]] = {
    **{f"omega_{omega:g}": {"omega": omega} for omega in (0.3, 0.5, 0.9)},
    "softmax_target": {"target": "softmax"},
    UNSURE: {"confidence": False},
    BARE: {"confidence": False},
}
"""QE-Rec with another weight of the query, and where the paper is open, the other reading."""
OBJECTIVES = ("cl", "scl", "slow", "dpo", "sft", "part")
"""What a reasoner is tuned by after RG-SFT: `sft` nothing, `part` cl with the negatives of each part of a batch, `scl`
cl of standardised vectors (`align.standardise`), `slow` cl after RG-SFT, both at the paper's learning rate."""


@dataclass(frozen=True, order=True)
class Row:
    """One ranker, evaluated once."""

    model: str  # oracle | two_towers | without_query | qe_rec | standardised | one of SWITCHES
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
    """All of the page's."""
    found = [Row(ORACLE)]
    each = range(1, seeds + 1)
    for seed in each:
        found += [Row(model, seed=seed) for model in (BASELINE, WITHOUT)]
        found += [Row(QE, pooling, seed=seed) for pooling in POOLINGS]
    for tuning in range(1, tunings + 1):
        for name in (*(f"{strategy}-cl" for strategy in STRATEGIES), "v2-dpo"):
            found += [Row(QE, name, False, tuning, seed) for seed in each]
        found += [Row(PLACED, FULL, False, tuning, seed) for seed in each]
        for name in (FULL, "v2-dpo", "v1-cl", FULL + WRITTEN):
            found += [Row(QE, name, True, tuning, seed) for seed in each]
    for name in ("v2-part", STANDARD, SLOW):
        found += [Row(QE, name, calibrated, 1, seed) for calibrated in (False, True) for seed in each]
    found += [Row(PLACED, name, False, 1, seed) for name in (STANDARD, SLOW) for seed in each]
    found += [Row(UNSURE, FULL, calibrated, 1, seed) for calibrated in (False, True) for seed in each]
    several = (UNSURE, BARE, EVEN)
    return found + [Row(model, seed=seed) for model in SWITCHES for seed in (each if model in several else (1,))]


def further(seeds: int = SEEDS, tunings: int = REASONERS) -> list[Row]:
    """Rows that are done where they are named alone: RG-SFT without more, and V3 and V4 calibrated."""
    found = []
    for tuning in range(1, tunings + 1):
        for seed in range(1, seeds + 1):
            found += [Row(QE, "v2-sft", calibrated, tuning, seed) for calibrated in (False, True)]
            found += [Row(QE, f"{strategy}-cl", True, tuning, seed) for strategy in ("v3", "v4")]
    return found


@dataclass(frozen=True)
class Step:
    """Two kinds of rows, the second meant to be above the first."""

    below: Row
    above: Row
    about: str


STEPS = (
    Step(Row(BASELINE), Row(QE), "baseline < QE-Rec"),
    Step(Row(WITHOUT), Row(QE), "QE-Rec without a query < QE-Rec"),
    Step(Row(QE), Row(QE, FULL, False, 1), "QE-Rec < aligned (SFT & CL)"),
    Step(Row(QE, FULL, False, 1), Row(QE, FULL, True, 1), "aligned < aligned and calibrated"),
    Step(Row(QE), Row(QE, FULL, True, 1), "QE-Rec < aligned and calibrated"),
    Step(Row(QE, FULL, False, 1), Row(PLACED, FULL, False, 1), "aligned < aligned, standardised anew"),
    Step(Row(QE), Row(PLACED, FULL, False, 1), "QE-Rec < aligned, standardised anew"),
    Step(Row(QE, "v2-dpo", True, 1), Row(QE, FULL, True, 1), "SFT & DPO < SFT & CL, both calibrated"),
    Step(Row(QE, "query"), Row(QE), "QE-Rec: sentence encoder < last token"),
    Step(Row(QE, "mean"), Row(QE), "QE-Rec: mean < last token"),
    Step(Row(QE, "eos"), Row(QE), "QE-Rec: end of sequence < last token"),
    Step(Row(QE, FULL + WRITTEN, True, 1), Row(QE, FULL, True, 1), "calibrated: sentence encoder < last token"),
    Step(Row(QE, "v1-cl", True, 1), Row(QE, FULL, True, 1), "calibrated: V1 < V2"),
    Step(Row(QE, "v2-part", True, 1), Row(QE, FULL, True, 1), "calibrated: a part's negatives < the whole batch's"),
    Step(Row(QE), Row(QE, STANDARD, False, 1), "QE-Rec < aligned by standardised vectors"),
    Step(Row(QE), Row(PLACED, STANDARD, False, 1), "QE-Rec < aligned by standardised vectors, standardised anew"),
    Step(Row(QE, FULL, True, 1), Row(QE, STANDARD, True, 1), "calibrated: by vectors < by standardised vectors"),
    Step(Row(QE), Row(QE, SLOW, False, 1), "QE-Rec < aligned at the paper's rate"),
    Step(Row(QE), Row(PLACED, SLOW, False, 1), "QE-Rec < aligned at the paper's rate, standardised anew"),
    Step(Row(QE, SLOW, False, 1), Row(QE, SLOW, True, 1), "at the paper's rate: aligned < calibrated"),
    Step(Row(QE), Row(QE, SLOW, True, 1), "QE-Rec < aligned at the paper's rate and calibrated"),
    Step(Row(QE, SLOW, True, 1), Row(QE, FULL, True, 1), "calibrated: at the paper's rate < at ours"),
    Step(Row(QE), Row(UNSURE), "QE-Rec < QE-Rec without the confidence predictor"),
    Step(Row(BARE), Row(UNSURE), "without the predictor: baseline < QE-Rec"),
    Step(Row(UNSURE), Row(UNSURE, FULL, False, 1), "without the predictor: QE-Rec < aligned"),
    Step(Row(UNSURE, FULL, False, 1), Row(UNSURE, FULL, True, 1), "without the predictor: aligned < calibrated"),
    Step(Row(UNSURE), Row(UNSURE, FULL, True, 1), "without the predictor: QE-Rec < aligned and calibrated"),
    Step(Row(QE, FULL, True, 1), Row(UNSURE, FULL, True, 1), "calibrated: with the confidence predictor < without"),
    Step(Row(QE), Row(EVEN), "QE-Rec: ω 0.7 < ω 0.5"),
)
"""The paper's order, each step with a paired test."""


def chains() -> Mapping[str, tuple[Step, ...]]:
    """baseline < QE-Rec < aligned < aligned and calibrated, by how rankers weigh what they are shown."""
    found = {"The paper's order": (QE, BASELINE), "The same without the confidence predictor": (UNSURE, BARE)}
    return {title: tuple(step for step in STEPS if (step.below, step.above) in _pairs(*models))
            for title, models in found.items()}  # fmt: skip


def _pairs(model: str, baseline: str) -> Sequence[tuple[Row, Row]]:
    each = Row(baseline), Row(model), Row(model, FULL, False, 1), Row(model, FULL, True, 1)
    return list(pairwise(each))


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
