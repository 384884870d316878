"""CoCo's pictures, of what is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from antiphon.html import Markup
from benchmarks.reproduce import _chart, _plane, _plots
from benchmarks.reproduce._coco_rows import BASE, HEADLINE, METHODS, TEMPLATES, TOLD_NOTHING
from benchmarks.reproduce._results import Result, Results
from benchmarks.reproduce._rows import ALL, Reproduction, Row
from trainer.config import CocoConfig
from trainer.statistics import Interval

BY_PROMPT = (*TEMPLATES, "coco_soft", "coco")
TO_BASE = "difference of R@5 to the base"
SPACES = {"behaviour": "h_RS", "semantic": "knowledge"}


def pictures(reproduction: Reproduction, results: Results) -> Mapping[str, str]:
    """See `Reproduction`."""
    kinds = {
        "headline": _headline, "gains": _gains, "sensitivity": _sensitivity, "groups": _groups, "helped": _helped,
        "spaces": _spaces, "selected": _selected,
    }  # fmt: skip
    found = {f"{reproduction.name}_{name}": draw(reproduction, results) for name, draw in kinds.items()}
    return {name: picture for name, picture in found.items() if picture}


def observed(reproduction: Reproduction, results: Results, what: str, recipe: str = "coco") -> list[Row]:
    """The rows of `recipe` of which something is known, one for each data set and backbone."""
    rows = [row for row in reproduction.all_rows(further=True) if row.recipe == recipe and row.seed == 1]
    return [row for row in rows if row in results.rows and results.rows[row].told.get(what)]


def _headline(reproduction: Reproduction, results: Results) -> Markup | None:
    panels = []
    rows = [row for row in reproduction.all_rows(further=True) if row.seed == 1 and row in results.rows]
    for data in dict.fromkeys(row.data for row in rows):
        bars = []
        for row in rows:
            if row.data == data and row.recipe in (*BASE, *HEADLINE):
                published, found = reproduction.published(row), results.rows[row].test["recall@5"]
                mark = published.values["recall@5"] if published else None
                bars.append(_chart.Bar(reproduction.called(row), found, mark))
        if bars:
            panels.append(_chart.Panel(f"{reproduction.titles[data]}, R@5", bars))
    return _chart.draw(panels, "R@5") if panels else None


def _gains(reproduction: Reproduction, results: Results) -> Markup | None:
    """The paired tests of the headline's rows and their controls with their base, of all seeds where there are
    several."""
    panels, shown = [], (*HEADLINE, *TOLD_NOTHING)
    rows = [row for row in reproduction.all_rows(further=True) if row.seed == 1 and row.recipe in shown]
    for data in dict.fromkeys(row.data for row in rows):
        groups: dict[str, dict] = {}
        for row in rows:
            sides = [(each, replace(each, recipe="base")) for each in (replace(row, seed=ALL), row)]
            paired = next((results.paired[pair] for pair in sides if pair in results.paired), None)
            if row.data == data and paired:
                one = paired.differences["recall@5"]
                groups.setdefault(reproduction.titles[row.recipe], {})[reproduction.titles[row.backbone]] = one
        if groups:
            names = list(dict.fromkeys(name for found in groups.values() for name in found))
            panels.append(_plots.gains(reproduction.titles[data], TO_BASE, groups, names))
    return _plots.compose(panels, f"{TO_BASE}, row by row") if panels else None


def _sensitivity(reproduction: Reproduction, results: Results) -> Markup | None:
    """R@5 by K and by θ, CoCo itself among them; the base is a line across, where there is one."""
    panels = []
    for title, setting, shown in (("Size of the codebook", "codes", "K"), ("Threshold", "threshold", "θ")):
        series, levels = {}, []
        for row in observed(reproduction, results, "epochs"):
            own = [replace(row, recipe=name) for name, method in METHODS.items() if set(method.coco) == {setting}]
            own = [results.rows[one] for one in (*own, row) if one in results.rows]
            if len(own) > 1:
                series[reproduction.called(row)] = {_value(one, setting): one.test["recall@5"] for one in own}
                base = results.rows.get(replace(row, recipe="base"))
                levels += [base.test["recall@5"].mean] if base else []
        if series:
            values = sorted({value for line in series.values() for value in line})
            place = {value: number for number, value in enumerate(values)}
            drawn = {name: [(place[x], line[x]) for x in sorted(line)] for name, line in series.items()}
            labels = {number: f"{value:g}" for value, number in place.items()}
            level = levels[0] if len(levels) == 1 else None
            panels.append(_plots.lines(f"{title}: R@5", shown, drawn, labels, level))
    return _plots.compose(panels, "R@5 by size of the codebook and by threshold") if panels else None


def _value(result: Result, setting: str) -> float:
    """Of `train.coco`, as the row was made."""
    return result.settings["train"]["coco"].get(setting, getattr(CocoConfig(), setting))


def _groups(reproduction: Reproduction, results: Results) -> Markup | None:
    panels = []
    for base in (row for row in results.rows if row.recipe == "base" and row.seed == 1):
        groups: dict[str, dict] = {}
        for recipe in BY_PROMPT:
            paired = results.paired.get((replace(base, recipe=recipe), base))
            for group, one in (paired.groups if paired else {}).items():
                groups.setdefault(group, {})[reproduction.titles[recipe]] = one
        if groups:
            names = list(dict.fromkeys(name for found in groups.values() for name in found))
            title = f"{reproduction.titles[base.data]}, {reproduction.titles[base.backbone]}"
            panels.append(_plots.gains(title, TO_BASE, groups, names))
    return _plots.compose(panels, f"{TO_BASE} by user group and prompt") if panels else None


def _helped(reproduction: Reproduction, results: Results) -> Markup | None:
    series = {}
    for row in observed(reproduction, results, "epochs"):
        shares = [(one["epoch"], 1.0 - one["helped"]) for one in results.rows[row].told["epochs"] if "helped" in one]
        if shares:
            name = f"{reproduction.titles[row.data]}, {reproduction.titles[row.backbone]}"
            series[name] = [(epoch, Interval(share, share, share)) for epoch, share in shares]
    if not series:
        return None
    return _plots.compose([_plots.lines("Share of users with M = 0", "epoch", series)], "share of users with M = 0")


def _spaces(reproduction: Reproduction, results: Results) -> Markup | None:
    panels = []
    for row in observed(reproduction, results, "spaces"):
        for when, planes in results.rows[row].told["spaces"].items():
            points = {shown: _plane.points(planes[name]) for name, shown in SPACES.items()}
            name = f"{reproduction.titles[row.data]}, {reproduction.titles[row.backbone]}, {when}"
            panels.append(_plots.scatter(name, points))
    return _plots.compose(panels, "behaviour and knowledge of users in one plane") if panels else None


def _selected(reproduction: Reproduction, results: Results) -> Markup | None:
    panels = []
    for row in observed(reproduction, results, "selected"):
        told = results.rows[row].told
        counts = {int(number): count for number, count in told["selected"].items()}
        name = f"{reproduction.titles[row.data]}, {reproduction.titles[row.backbone]}: {told['sets']:,} sets"
        panels.append(_plots.bars(name, "m", counts))
    return _plots.compose(panels, "how many codes users have") if panels else None


