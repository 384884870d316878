"""RGAlign-Rec's page: the paper's tables, ours beside theirs, and the order of its claims, made from the results."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy import stats

from antiphon.html import Markup
from benchmarks.reproduce import _plots, _rgalign_learnt, _tables
from benchmarks.reproduce._rgalign_rows import (
    ALIGNED,
    BARE,
    BASELINE,
    FULL,
    ORACLE,
    PLACED,
    POOLINGS,
    PRINTED,
    PROBE,
    QE,
    STEPS,
    SWITCHES,
    UNSURE,
    WHOLE,
    WITHOUT,
    WRITTEN,
    Row,
    Step,
)  # fmt: skip
from trainer.statistics import Comparison

Results = Mapping[Row, Mapping[str, Any]]
ALPHA = 0.05
COLUMNS = {"gauc": "GAUC", "recall@3": "R@3", "recall@5": "R@5", "ndcg@3": "N@3", "ndcg@5": "N@5", "mrr@3": "MRR@3",
           "mrr@5": "MRR@5", "hit@3": "IHR"}  # fmt: skip
TESTED = ("gauc", "recall@3", "ndcg@3", "mrr@5")
UNALIGNED = Row(QE)
PUBLISHED = {  # GAUC, R@3, R@5, N@3, N@5, MRR
    Row(BASELINE): (96.31, 67.73, 76.81, 70.84, 74.96, 58.52),
    UNALIGNED: (96.42, 67.99, 77.09, 71.04, 75.07, 58.79),
    ALIGNED: (96.42, 68.07, 77.13, 71.07, 75.11, 58.84),
    Row(QE, "v2-dpo", True, 1): (96.42, 68.06, 77.13, 71.09, 75.14, 58.82),
    WHOLE: (96.43, 68.11, 77.21, 71.09, 75.14, 58.81),
    Row(QE, "query"): (96.39, 67.93, 77.04, 70.94, 75.01, 58.67),
    Row(QE, FULL + WRITTEN, True, 1): (96.31, 67.56, 76.69, 70.69, 74.80, 58.36),
    Row(PLACED, "v1-cl", False, 1): (96.44, 68.08, 77.19, 71.11, 75.17, 58.84),
    Row(PLACED, "v3-cl", False, 1): (96.41, 68.05, 77.13, 71.04, 75.08, 58.79),
    Row(PLACED, "v4-cl", False, 1): (96.42, 68.05, 77.18, 71.08, 75.12, 58.81),
    Row(QE, "v1-cl", True, 1): (96.42, 68.05, 77.16, 71.06, 75.11, 58.83),
}
TABLE_2 = {
    "Baseline": Row(BASELINE), "QE-Rec without its query tower": Row(WITHOUT), "QE-Rec": UNALIGNED,
    "RGAlign-Rec (SFT & CL), not calibrated": ALIGNED,
    "the same, standardised as the published reasoner's vectors": Row(QE, FULL, False, 1),
    "RGAlign-Rec (SFT & DPO)": Row(QE, "v2-dpo", True, 1), "RGAlign-Rec (full)": WHOLE, "oracle": Row(ORACLE),
}  # fmt: skip
TABLE_3 = {
    "QE-Rec, sentence encoder": Row(QE, "query"), "QE-Rec, mean": Row(QE, "mean"),
    "QE-Rec, end of sequence": Row(QE, "eos"), "QE-Rec, last token": UNALIGNED,
    "RGAlign-Rec (full), sentence encoder": Row(QE, FULL + WRITTEN, True, 1),
    "RGAlign-Rec (full), last token": WHOLE,
}  # fmt: skip
TABLE_4 = {
    **{f"{v.upper()}, not calibrated": Row(PLACED, f"{v}-cl", False, 1) for v in ("v1", "v2", "v3", "v4")},
    **{f"{v.upper()}, calibrated": Row(QE, f"{v}-cl", True, 1) for v in ("v1", "v2", "v3", "v4")},
}  # fmt: skip
PROBES = {
    **{f"as published, {name.replace('query', 'sentence encoder')}": Row(PROBE, name) for name in POOLINGS},
    **{f"SFT & CL, {v.upper()}": Row(PROBE, f"{v}-cl", True, 1) for v in ("v1", "v2", "v3", "v4")},
    "SFT & DPO": Row(PROBE, "v2-dpo", True, 1),
    "SFT & CL, cosines as printed": Row(PROBE, PRINTED, True, 1),
}
OTHERS = {
    "QE-Rec, ω 0.7": UNALIGNED,
    **{f"QE-Rec, {name.replace('_', ' ')}": Row(name) for name in SWITCHES if name != BARE},
    "without confidence, baseline": Row(BARE),
    "without confidence, SFT & CL": Row(UNSURE, FULL, True, 1),
    "SFT & CL, cosines as printed, not calibrated": Row(PLACED, PRINTED, False, 1),
    "SFT & CL, cosines as printed": Row(QE, PRINTED, True, 1),
    "SFT & CL, a part's negatives": Row(QE, "v2-part", True, 1),
    "SFT alone, not calibrated": Row(PLACED, "v2-sft", False, 1), "SFT alone": Row(QE, "v2-sft", True, 1),
}  # fmt: skip
SAME = {
    "as published": UNALIGNED,
    "SFT & CL, standardised as the published one": Row(QE, FULL, False, 1),
    "SFT & CL, standardised by its own": ALIGNED,
    "SFT & CL, calibrated": WHOLE,
}
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
    """The page's sections, of what is known. ``name`` is the page's; ``measured`` are `_rgalign_rewards`' agreement,
    `_rgalign_meaning`'s meaning and `_rgalign_contrast`'s contrast."""
    yield from _verdict(name, steps)
    yield from _sizes(shared)
    for title, kinds in (("Table 2", TABLE_2), ("Table 3: pooling", TABLE_3), ("Table 4: Best-of-N", TABLE_4),
                         ("The query's weight, accumulation, and other readings", OTHERS)):  # fmt: skip
        lines = list(_lines(results, kinds))
        if lines:
            yield f"## {title}"
            yield _tables.table(["", "rows", *COLUMNS.values(), "theirs"], lines)
    yield from _probes(results)
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
    """What became of the paper's order."""
    claimed = [step for step in STEPS if step.primary]
    known = [step for step in claimed if step.about in steps]
    if not known:
        return
    by = {metric: [holds(steps[step.about], metric) for step in known] for metric in ("gauc", "ndcg@3")}
    whole = len(known) == len(claimed)
    kept = whole and all(one == "holds" for each in by.values() for one in each)
    told = [f"{step.about}: by GAUC {gauc}, by N@3 {gain}"
            for step, gauc, gain in zip(known, *by.values(), strict=True)]  # fmt: skip
    missing = "" if whole else " Steps that are not named are not measured yet."
    yield (
        f"**The paper's order, each step at p < {ALPHA}: {'holds' if kept else 'does not hold as a whole'}. "
        f"{'; '.join(told)}.{missing}**"
    )
    yield f"![Each step's difference, with its interval]({name}.svg)"


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
        about = f"**{step.about}**" if step.primary else step.about
        lines.append([str(number), about, *(_step(told, metric) for metric in TESTED), _theirs(step)])
    if lines:
        yield "## Step by step"
        yield (
            "The paper's claim is the three steps in bold, decided on before the rows were made. The others are "
            f"{len(lines) - sum(step.primary and step.about in steps for step in STEPS)} more looks with "
            f"{len(TESTED)} metrics each, uncorrected: of so many some are below {ALPHA} by chance."
        )
        head = ["", "step", *(COLUMNS[metric] for metric in TESTED), "theirs: GAUC, R@3, N@3, MRR"]
        yield _tables.table(head, lines)


def _probes(results: Results) -> Iterator[str]:
    lines = list(_lines(results, PROBES))
    if lines:
        yield "## What the vectors hold"
        yield (
            "A linear probe: ridge regression (scikit-learn) from a reasoner's vector alone to the intents that were "
            "clicked, its λ by N@3 on validation. It is what the vector tells, however a ranker is trained; a ranker "
            "reads the other features too."
        )
        yield _tables.table(["vectors", "rows", *COLUMNS.values(), ""], lines)


def _places(results: Results) -> Iterator[str]:
    lines = []
    for title, kind in SAME.items():
        found = [told["query"]["same"] for row, told in results.items() if row.kind == kind and "query" in told]
        if found:
            lines.append([title, f"{statistics.fmean(found):.1%}"])
    if lines:
        yield (
            "Of what the query's term, cos(z_i, z_q), tells a session's intents apart by, the share that is the same "
            "in all sessions of the test (squares of differences from the session's mean), and so tells no session "
            "from another:"
        )
        yield _tables.table(["vectors", "the same in all sessions"], lines)


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
