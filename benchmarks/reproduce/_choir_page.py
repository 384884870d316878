"""ChoirRec's page: the paper's tables and figures, ours beside theirs, made from the results alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from antiphon.html import Markup
from benchmarks.reproduce import _plots, _tables
from benchmarks.reproduce._choir_rows import (
    ABLATIONS,
    BASELINES,
    CENTROIDS,
    FULL,
    IDS,
    ORACLE,
    OWN,
    RATED,
    RATES,
    SEGMENTS,
    SETTINGS,
    SWITCHES,
    WEIGHTS,
    WHOLE,
    Row,
    chosen,
    config,
)
from trainer.statistics import Comparison, Interval

Results = Mapping[Row, Mapping[str, Any]]

TITLES = {
    "ml1m": "MovieLens-1M as conversion", "tmall": "Tmall repeat buyers", "market": "simulated market",
    "null": "null world", "base": "base", "poso": "POSO", "cold_transformer": "Cold-Transformer", "melt": "MELT",
    "uie": "UIE", FULL: "ChoirRec", ORACLE: "oracle", IDS: "w/o LLM emb.",
    WHOLE: "profiles encoded whole", SEGMENTS: "ChoirRec, the market's own groups", "without_id": "w/o ID emb.",
    "without_attributes": "w/o attr. emb.", "without_sequence": "w/o seq. emb.", "without_dual": "w/o dual channel",
    "without_distillation": "w/o gated distillation", "without_injection": "w/o asymmetric injection",
    "kl": "w/ KL loss", "without_margin": "w/o margin", "kl_open_teacher": "w/ KL loss, teacher not detached",
    "base_parent": "Eq. 5 as printed", "open_injection": "injection not detached",
    "printed_confidence": "confidence as printed", "distill_floor": "floor under α_distill",
    "fused_loss": "Eq. 12 alone, no loss of each channel",
}  # fmt: skip
PUBLISHED = {  # AUC low, AUC overall, GAUC low, GAUC overall
    "base": (0.9195, 0.9098, 0.7097, 0.7732), "poso": (0.9199, 0.9100, 0.7111, 0.7729),
    "cold_transformer": (0.9198, 0.9099, 0.7103, 0.7734), "melt": (0.9201, 0.9103, 0.7119, 0.7746),
    "uie": (0.9203, 0.9102, 0.7132, 0.7750), FULL: (0.9225, 0.9116, 0.7179, 0.7768),
}  # fmt: skip
ABLATED = {  # change of GAUC in percent: low, overall
    IDS: (-0.90, -0.36), "without_id": (-0.24, -0.06), "without_attributes": (-0.44, -0.09),
    "without_sequence": (-0.59, -0.19), "without_dual": (-0.67, -0.17), "without_distillation": (-0.43, -0.09),
    "without_injection": (-0.25, -0.21), "kl": (-1.63, -1.06), "without_margin": (-0.21, -0.11),
}  # fmt: skip
LEVELS = {1: 1.355, 5: 0.420}
"""Figure 5, the two that its text tells, in percent."""
GATE = 2.1
"""Mean α_fusion of level 1 over that of level 5."""
CONSISTENCY = {"attribute_consistency": 0.83, "category_consistency": 0.60, "information": None}
COLUMNS = (("auc", "low"), ("auc", "overall"), ("gauc", "low"), ("gauc", "overall"))


def body(results: Results, compared: Mapping[Row, Mapping[str, Any]]) -> Iterator[str]:
    """The page's sections, of what is known."""
    drawn = pictures(results, compared)
    for data in dict.fromkeys(row.data for row in results):
        yield f"## {TITLES[data]}"
        tried = {row: found for row, found in results.items() if row.data == data and "valid" in found}
        mine = {row: found for row, found in results.items() if row.data == data and not row.setting}
        against = {row: found for row, found in compared.items() if row.data == data}
        yield from _first(mine, against)
        if (picture := f"choirrec_{data}") in drawn:
            yield f"![Gain by activity, and GAUC by k and λ]({picture}.svg)"
        yield from _levels(mine, against)
        yield from _ablations(mine, against)
        yield from _sweeps(mine, against)
        yield from _settings(tried, data)
        yield from _groups(mine)


def pictures(results: Results, compared: Mapping[Row, Mapping[str, Any]]) -> dict[str, Markup]:
    """Figure 5 and Figure 6 of each data set that has them."""
    found = {}
    for data in dict.fromkeys(row.data for row in results):
        row, metric = Row(data, FULL), _judged_by(data)
        panels = []
        if row in compared:
            levels = {name.replace("_", " "): {TITLES[FULL]: Comparison(**told[metric])}
                      for name, told in sorted(compared[row].items()) if name.startswith("level_")}  # fmt: skip
            if levels:
                title = "Gain over the base by activity, first seed"
                panels.append(_plots.gains(title, metric.upper(), levels, [TITLES[FULL]]))
        for title, places in (("k", _by_k(data)), ("λ", _by_weight(data))):
            known = {x: results[one] for x, one in places.items() if one in results}
            if len(known) > 1:
                labels = dict(enumerate(f"{x:g}" for x in known))
                series = {
                    segment: [(i, Interval(**told["test"][segment]["gauc"])) for i, told in enumerate(known.values())]
                    for segment in ("low", "overall") if all(segment in told["test"] for told in known.values())
                }  # fmt: skip
                panels.append(_plots.lines(f"GAUC by {title}, first seed", title, series, labels))
        if panels:
            found[f"choirrec_{data}"] = _plots.compose(panels, f"ChoirRec on {TITLES[data]}")
    return found


def _first(results: Results, compared: Mapping[Row, Mapping[str, Any]]) -> Iterator[str]:
    alone = _judged_by(next(iter(results)).data) == "auc"
    columns = [(metric, segment) for metric, segment in COLUMNS if metric == "auc" or not alone]
    titles = [f"{metric.upper()} {_segment(segment)}" for metric, segment in columns]
    lines = []
    for model in (*BASELINES, FULL, SEGMENTS, ORACLE):
        found = _seeds(results, FULL, SEGMENTS) if model == SEGMENTS else _seeds(results, model)
        if not found:
            continue
        cells = [_mean([_value(results[row], segment, metric) for row in found]) for metric, segment in columns]
        theirs = " / ".join(f"{value:.4f}" for value in PUBLISHED[model][: len(columns)]) if model in PUBLISHED else ""
        gains = [_difference([compared[row][segment][metric] for row in found if segment in compared.get(row, {})])
                 for metric, segment in columns]  # fmt: skip
        lines.append([TITLES[model], *cells, theirs, *gains])
    if lines:
        yield "### Table 1"
        yield _tables.table(["model", *titles, "theirs", *(f"{title} less the base's" for title in titles)], lines)
        dropped = [_value(results[row], "overall", "dropped") for row in _seeds(results, "base")]
        if dropped:
            yield f"Users without a GAUC, all of whose labels are one: {_mean(dropped, '.1%')}."


def _levels(results: Results, compared: Mapping[Row, Mapping[str, Any]]) -> Iterator[str]:
    rows, metric = _seeds(results, FULL), _judged_by(next(iter(results)).data)
    levels = sorted({name for row in rows for name in compared.get(row, {}) if name.startswith("level_")})
    lines, gates = [], []
    for name in levels:
        number = int(name.removeprefix("level_"))
        gain = [_relative(results, row, name) for row in rows if name in compared.get(row, {})]
        tested = _difference([compared[row][name][metric] for row in rows if name in compared.get(row, {})])
        gate = [_value(results[row], name, "fusion") for row in rows]
        gates.append(statistics.fmean(gate))
        theirs = f"{LEVELS[number]:+.2f} %" if number in LEVELS else ""
        channels = [results[row]["channels"][name] for row in rows if "channels" in results[row]]
        alone = [_mean([each[channel] for each in channels if metric == "gauc"]) for channel in ("own", "group")]
        best = _mean([each["best"] for each in channels], ".2f")
        lines.append([str(number), _mean(gain, "+.2f") + " %", theirs, tested, *alone, _mean(gate), best])
    if lines:
        yield "### Figure 5, and the fusion gate by level"
        head = ["level", f"gain of {metric.upper()}", "theirs", "difference", "GAUC of the individual channel alone",
                "of the group channel alone", "mean α_fusion", "of the least log loss"]  # fmt: skip
        yield _tables.table(head, lines)
        yield f"α_fusion of level 1 over that of level {len(levels)}: {gates[0] / gates[-1]:.2f} (theirs {GATE})."


def _ablations(results: Results, compared: Mapping[Row, Mapping[str, Any]]) -> Iterator[str]:
    lines = []
    for name in (IDS, *ABLATIONS, *SWITCHES, WHOLE):
        rows = [row for row in results if name in (row.groups, row.model)]
        cells = []
        for place, segment in enumerate(("low", "overall")):
            known = [row for row in rows if segment in compared.get(row, {})]
            change = [_relative(results, row, segment) for row in known]
            theirs = f" (theirs {_number(ABLATED[name][place], '+.2f')} %)" if name in ABLATED else ""
            cells += [f"{_mean(change, '+.2f')} %{theirs}" if change else "",
                      _difference([compared[row][segment]["gauc"] for row in known])]  # fmt: skip
        if any(cells):
            gates = [gate for row in rows if (gate := _gate(results[row]))]
            lines.append([TITLES[name], *cells, _mean(gates, ".2f")])
    if lines:
        yield "### Table 2, and the other readings"
        head = ["variant", "GAUC low", "difference", "GAUC overall", "difference", "α_fusion, level 1 over 5"]
        yield _tables.table(head, lines)


def _sweeps(results: Results, compared: Mapping[Row, Mapping[str, Any]]) -> Iterator[str]:
    data = next(iter(results)).data
    for title, places in (("k", _by_k(data)), ("λ", _by_weight(data))):
        known = {x: row for x, row in places.items() if row in results}
        if len(known) > 1:
            cells = [[f"{x:g}", *(_mean([_value(results[row], segment, "gauc")]) for segment in ("low", "overall"))]
                     for x, row in known.items()]  # fmt: skip
            yield f"### Figure 6: {title}"
            yield _tables.table([title, "GAUC low", "GAUC overall"], cells)


def _groups(results: Results) -> Iterator[str]:
    """What groups have in common, of every kind of them, the mean over seeds."""
    head = ["groups", *(name.replace("_", " ") + (f" (theirs {value:.2f})" if value else "")
                        for name, value in CONSISTENCY.items())]  # fmt: skip
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row, found in results.items():
        if "groups" in found:
            kinds.setdefault(row.groups, []).append(found["groups"])
    lines = [[kind, *(_mean([one[name] for one in told if one.get(name) is not None], ".2f") for name in CONSISTENCY)]
             for kind, told in kinds.items()]  # fmt: skip
    if lines:
        yield "### Groups"
        yield _tables.table(head, lines)
    known = [one["attributes"] for told in kinds.values() for one in told if "attributes" in one]
    if known:
        whole = [one["profiles"] for told in kinds.values() for one in told if "profiles" in one]
        facts = f", all facts of the profiles that groups are made of {_mean(whole, '.2f')}" if whole else ""
        yield ("Information is what a group tells of which segment of the market a user is of, nats. By naive Bayes "
               f"users' attributes alone, which the base reads too, tell {_mean(known, '.2f')}{facts}.")  # fmt: skip


def _settings(results: Results, data: str) -> Iterator[str]:
    """What each model scored on validation with each setting, that of the config in bold."""
    lines = []
    for model in (*BASELINES, FULL):
        known = {setting: Row(data, model, setting="" if setting == chosen(data, model) else setting)
                 for setting in SETTINGS}  # fmt: skip
        cells = []
        for row in known.values():
            values = results[row]["valid"].values() if row in results else ()
            cells += ["".join(f"{value:.4f}" if row.setting else f"**{value:.4f}**" for value in values)]
        if all(cells):
            lines.append([TITLES[model], *cells])
    if data == "null" or not lines:
        return
    (metric,) = next(iter(results.values()))["valid"]
    yield f"### Settings, {metric.upper()} on validation"
    yield _tables.table(["model", *SETTINGS], lines)
    rates = {factor: [row for row in results if row.model == "base" and row.seed <= RATED and row.setting == name]
             for name, factor in {**RATES, "": 1.0}.items()}  # fmt: skip
    if all(rates.values()):
        first = config(Row(data, "base"), Path()).ranker.optimizer.learning_rate
        told = (f"{_mean([results[row]['valid'][metric] for row in mine])} at {factor * first:.2g}"
                for factor, mine in sorted(rates.items()))  # fmt: skip
        yield f"The base by the learning rate that a training begins with: {', '.join(told)}."


def _judged_by(data: str) -> str:
    """The metric that chooses a model on validation."""
    return config(Row(data, "base"), Path()).ranker.select


def _by_k(data: str) -> dict[float, Row]:
    return {k: Row(data, FULL, f"k{k}") for k in CENTROIDS}


def _by_weight(data: str) -> dict[float, Row]:
    return {w: Row(data, f"lambda_{w:g}") for w in WEIGHTS}


def _seeds(results: Results, model: str, groups: str = OWN) -> list[Row]:
    return [row for row in results if row.model == model and row.groups == groups]


def _value(found: Mapping[str, Any], segment: str, metric: str) -> float:
    value = found["test"].get(segment, {}).get(metric, float("nan"))
    return value["mean"] if isinstance(value, Mapping) else value


def _relative(results: Results, row: Row, segment: str) -> float:
    """The change of what its data are judged by against what the row is compared with, in percent."""
    metric = _judged_by(row.data)
    before = _value(results[row.base], segment, metric)
    return 100 * (_value(results[row], segment, metric) - before) / before


def _gate(found: Mapping[str, Any]) -> float:
    """Mean α_fusion of the least active level over that of the most; 0 of a model without a gate."""
    levels = [told["fusion"] for name, told in sorted(found["test"].items())
              if name.startswith("level_") and "fusion" in told]  # fmt: skip
    return levels[0] / levels[-1] if levels else 0.0


def _mean(values: Sequence[float], form: str = ".4f") -> str:
    """The mean, and with several its deviation between seeds."""
    if not values:
        return ""
    mean = _number(statistics.fmean(values), form)
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):{form.lstrip('+')}}"


def _difference(found: Sequence[Mapping[str, float]]) -> str:
    """One comparison with its interval; of several the mean, p of a t test over the seeds, and how many of them are
    above 0 and significant by themselves."""
    if not found:
        return ""
    if len(found) == 1:
        return _tables.difference(Comparison(**found[0]))
    differences = [one["difference"] for one in found]
    p = stats.ttest_1samp(differences, 0).pvalue
    sure = sum(one["p_value"] < 0.05 and one["difference"] > 0 for one in found)
    return f"{_mean(differences, '+.4f')}, p {p:.2g}; {sure} of {len(found)} seeds p < 0.05"


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else f"{value:{form}}".replace("-", "−")


def _segment(name: str) -> str:
    return "low-act." if name == "low" else name
