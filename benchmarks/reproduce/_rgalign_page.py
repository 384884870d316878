"""RGAlign-Rec's page: the paper's tables, ours beside theirs, and the order of its claims, made from the results."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy import stats

from antiphon.html import Markup
from benchmarks.reproduce import _plots, _rgalign_learnt, _tables
from benchmarks.reproduce._rgalign_rows import (
    BARE,
    BASELINE,
    FULL,
    ORACLE,
    PLACED,
    QE,
    SLOW,
    STANDARD,
    STEPS,
    SWITCHES,
    UNSURE,
    WITHOUT,
    WRITTEN,
    Row,
    Step,
    chains,
)  # fmt: skip
from trainer.statistics import Comparison

Results = Mapping[Row, Mapping[str, Any]]
ALPHA = 0.05
COLUMNS = {"gauc": "GAUC", "recall@3": "R@3", "recall@5": "R@5", "ndcg@3": "N@3", "ndcg@5": "N@5", "mrr@3": "MRR@3",
           "mrr@5": "MRR@5", "hit@3": "IHR"}  # fmt: skip
TESTED = ("gauc", "recall@3", "ndcg@3", "mrr@5")
UNALIGNED, ALIGNED = Row(QE), Row(QE, FULL, True, 1)
PUBLISHED = {  # GAUC, R@3, R@5, N@3, N@5, MRR
    Row(BASELINE): (96.31, 67.73, 76.81, 70.84, 74.96, 58.52),
    UNALIGNED: (96.42, 67.99, 77.09, 71.04, 75.07, 58.79),
    Row(QE, FULL, False, 1): (96.42, 68.07, 77.13, 71.07, 75.11, 58.84),
    Row(QE, "v2-dpo", True, 1): (96.42, 68.06, 77.13, 71.09, 75.14, 58.82),
    ALIGNED: (96.43, 68.11, 77.21, 71.09, 75.14, 58.81),
    Row(QE, "query"): (96.39, 67.93, 77.04, 70.94, 75.01, 58.67),
    Row(QE, FULL + WRITTEN, True, 1): (96.31, 67.56, 76.69, 70.69, 74.80, 58.36),
    Row(QE, "v1-cl", False, 1): (96.44, 68.08, 77.19, 71.11, 75.17, 58.84),
    Row(QE, "v3-cl", False, 1): (96.41, 68.05, 77.13, 71.04, 75.08, 58.79),
    Row(QE, "v4-cl", False, 1): (96.42, 68.05, 77.18, 71.08, 75.12, 58.81),
    Row(QE, "v1-cl", True, 1): (96.42, 68.05, 77.16, 71.06, 75.11, 58.83),
}
TABLE_2 = {
    "Baseline": Row(BASELINE), "QE-Rec without its query tower": Row(WITHOUT), "QE-Rec": UNALIGNED,
    "RGAlign-Rec (SFT & CL), not calibrated": Row(QE, FULL, False, 1),
    "the same, vectors standardised anew": Row(PLACED, FULL, False, 1),
    "RGAlign-Rec (SFT & DPO), not calibrated": Row(QE, "v2-dpo", False, 1),
    "RGAlign-Rec (SFT & DPO)": Row(QE, "v2-dpo", True, 1), "RGAlign-Rec (full)": ALIGNED, "oracle": Row(ORACLE),
}  # fmt: skip
TABLE_3 = {
    "QE-Rec, sentence encoder": Row(QE, "query"), "QE-Rec, mean": Row(QE, "mean"),
    "QE-Rec, end of sequence": Row(QE, "eos"), "QE-Rec, last token": UNALIGNED,
    "RGAlign-Rec (full), sentence encoder": Row(QE, FULL + WRITTEN, True, 1),
    "RGAlign-Rec (full), last token": ALIGNED,
}  # fmt: skip
TABLE_4 = {
    **{f"{v.upper()}, not calibrated": Row(QE, f"{v}-cl", False, 1) for v in ("v1", "v2", "v3", "v4")},
    **{f"{v.upper()}, calibrated": Row(QE, f"{v}-cl", True, 1) for v in ("v1", "v2", "v3", "v4")},
}  # fmt: skip
OTHERS = {
    "QE-Rec, ω 0.7": UNALIGNED,
    **{f"QE-Rec, {name.replace('_', ' ')}": Row(name) for name in SWITCHES if name != BARE},
    "without confidence, baseline": Row(BARE),
    "without confidence, SFT & CL, not calibrated": Row(UNSURE, FULL, False, 1),
    "without confidence, SFT & CL": Row(UNSURE, FULL, True, 1),
    "SFT & CL, a part's negatives, not calibrated": Row(QE, "v2-part", False, 1),
    "SFT & CL, a part's negatives": Row(QE, "v2-part", True, 1),
    "SFT & CL of standardised vectors, not calibrated": Row(QE, STANDARD, False, 1),
    "the same, standardised anew": Row(PLACED, STANDARD, False, 1),
    "SFT & CL of standardised vectors": Row(QE, STANDARD, True, 1),
    "SFT & CL at the paper's learning rate, not calibrated": Row(QE, SLOW, False, 1),
    "the same, at the paper's learning rate, standardised anew": Row(PLACED, SLOW, False, 1),
    "SFT & CL at the paper's learning rate": Row(QE, SLOW, True, 1),
    "SFT alone, not calibrated": Row(QE, "v2-sft", False, 1), "SFT alone": Row(QE, "v2-sft", True, 1),
}  # fmt: skip
STAGES = {
    "queries": "vectors of sessions", "requests": "requests", "models": "rankers", "evaluation": "evaluations",
    "judges": "cross-fitted rankers", "candidates": "candidates", "vectors": "vectors of candidates",
    "intent_vectors": "vectors of intents", "rewards": "rewards", "best": "Best-of-N", "tuned": "tuning",
}  # fmt: skip


def body(
    name: str,
    results: Results,
    steps: Mapping[str, Any],
    shared: Mapping[str, Any],
    measured: Mapping[str, Any],
) -> Iterator[str]:
    """The page's sections, of what is known. ``name`` is the page's; ``measured`` are `_rgalign_rewards`' agreement
    and `_rgalign_contrast`'s contrast."""
    yield from _verdict(name, steps)
    yield from _sizes(shared)
    for title, kinds in (("Table 2", TABLE_2), ("Table 3: pooling", TABLE_3), ("Table 4: Best-of-N", TABLE_4),
                         ("The query's weight, accumulation, and other readings", OTHERS)):  # fmt: skip
        lines = list(_lines(results, kinds))
        if lines:
            yield f"## {title}"
            yield _tables.table(["", "rows", *COLUMNS.values(), "theirs"], lines)
    yield from _steps(steps)
    yield from _places(results)
    yield from _rgalign_learnt.body(shared, measured)
    yield from _cost(shared)


def pictures(name: str, steps: Mapping[str, Any]) -> dict[str, Markup]:
    """Each step's differences with their intervals."""
    names = ["GAUC", "N@3"]
    groups = {}
    for step in STEPS:
        if step.about in steps:
            told = steps[step.about]["metrics"]
            groups[step.about] = {COLUMNS[metric]: Comparison(**told[metric]) for metric in ("gauc", "ndcg@3")}
    if not groups:
        return {}
    tests = {f"{number}": told for number, told in enumerate(groups.values(), 1)}
    panel = _plots.gains("The steps of the table below, by number", "difference", tests, names)
    return {name: _plots.compose([panel], "RGAlign-Rec, step by step")}


def holds(told: Mapping[str, Any], metric: str) -> str:
    """What a step came to by one metric: ``holds``, ``is not significant`` or ``is the other way round``.

    It is significant where it is so both over users and over trainings.
    """
    test = Comparison(**told["metrics"][metric])
    if not (test.p_value < ALPHA and over_seeds(told["each"][metric]) < ALPHA):
        return "is not significant"
    return "holds" if test.difference > 0 else "is the other way round"


def over_seeds(each: Sequence[float]) -> float:
    """The p value of the seeds' differences, by a paired t-test. Of one seed nothing is known: 0."""
    return float(stats.ttest_1samp(each, 0.0).pvalue) if len(each) > 1 else 0.0


def _verdict(name: str, steps: Mapping[str, Any]) -> Iterator[str]:
    found = [told for title, chain in chains().items() if (told := _order(title, chain, steps))]
    if found:
        yield from found
        yield f"![Each step's difference, with its interval]({name}.svg)"


def _order(title: str, chain: Sequence[Step], steps: Mapping[str, Any]) -> str:
    """What became of the paper's order; nothing where none of its steps is known."""
    known = [step for step in chain if step.about in steps]
    if not known:
        return ""
    by = {metric: [holds(steps[step.about], metric) for step in known] for metric in ("gauc", "ndcg@3")}
    whole = len(known) == len(chain)
    kept = whole and all(one == "holds" for each in by.values() for one in each)
    told = [f"{step.about}: by GAUC {gauc}, by N@3 {gain}"
            for step, gauc, gain in zip(known, *by.values(), strict=True)]  # fmt: skip
    missing = "" if whole else " Steps that are not named are not measured yet."
    return (
        f"**{title}, each step at p < {ALPHA}: {'holds' if kept else 'does not hold as a whole'}. "
        f"{'; '.join(told)}.{missing}**"
    )


def _sizes(shared: Mapping[str, Any]) -> Iterator[str]:
    told = [each["summary"] for name, each in shared.items() if name.startswith("requests/")]
    if told:
        train, valid, test = (f"{told[0][split]:,}" for split in ("train", "valid", "test"))
        yield f"Rankers learn from {train} sessions, are chosen by {valid} and tested on {test}."


def _lines(results: Results, kinds: Mapping[str, Row]) -> Iterator[list[str]]:
    for title, kind in kinds.items():
        found = [told["test"] for row, told in results.items() if row.kind == kind]
        if found:
            cells = [_percent([one[metric]["mean"] for one in found]) for metric in COLUMNS]
            theirs = " / ".join(f"{value:.2f}" for value in PUBLISHED.get(kind, ()))
            yield [title, str(len(found)), *cells, theirs]


def _steps(steps: Mapping[str, Any]) -> Iterator[str]:
    lines = []
    for number, step in enumerate((step for step in STEPS if step.about in steps), 1):
        told = steps[step.about]
        lines.append([str(number), step.about, *(_step(told, metric) for metric in TESTED), _theirs(step)])
    if lines:
        yield "## Step by step"
        head = ["", "step", *(COLUMNS[metric] for metric in TESTED), "theirs: GAUC, R@3, N@3, MRR"]
        yield _tables.table(head, lines)


def _places(results: Results) -> Iterator[str]:
    lines = []
    for name, title in {FULL: "SFT & CL", STANDARD: "SFT & CL of standardised vectors",
                        SLOW: "SFT & CL at the paper's learning rate"}.items():  # fmt: skip
        found = [told["query"] for row, told in results.items() if row.kind == Row(PLACED, name, False, 1)]
        if found:
            moved, wider = (statistics.fmean(one[key] for one in found) for key in ("moved", "wider"))
            lines.append([title, f"{moved:.1f}", f"{wider:.1f}"])
    if lines:
        yield (
            "Tuning moves the reasoner's vectors to another place: how far their mean goes, in the published one's "
            "deviations in training, and how many times as wide they lie, both on average over their numbers. "
            "Standardised anew: not calibrated either, but the ranker is given the mean and deviation of the tuned "
            "one's vectors, for which no label is needed."
        )
        yield _tables.table(["tuned by", "moved", "times as wide"], lines)


def _step(told: Mapping[str, Any], metric: str) -> str:
    each, test = told["each"][metric], Comparison(**told["metrics"][metric])
    up = sum(one > 0 for one in each)
    seeds = f"{up} of {_tables.count(len(each), 'seed')} up"
    between = f", p {over_seeds(each):.2g}" if len(each) > 1 else ""
    return f"{_tables.difference(test)}; {seeds}{between}; {holds(told, metric)}"


def _theirs(step: Step) -> str:
    if not {step.below, step.above} <= PUBLISHED.keys():
        return ""
    pairs = zip(PUBLISHED[step.below], PUBLISHED[step.above], strict=True)
    moved = [(two - one) / 100 for one, two in pairs]
    return ", ".join(_tables.signed(moved[place]) for place in (0, 1, 3, 5))


def _cost(shared: Mapping[str, Any]) -> Iterator[str]:
    lines = []
    for stage, title in STAGES.items():
        took = [told["seconds"] for name, told in shared.items() if name.split("/")[0] == stage]
        if took:
            wall, processor = (sum(each) for each in zip(*took, strict=True))
            lines.append([title, str(len(took)), *(f"{value / 60:.1f}" for value in (wall, processor))])
    if lines:
        yield "## What it cost"
        yield _tables.table(["stage", "times", "minutes", "processor minutes"], lines)


def _percent(values: Sequence[float]) -> str:
    """The mean in percent, and with several its deviation between seeds."""
    mean = f"{100 * statistics.fmean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * statistics.stdev(values):.2f}"
