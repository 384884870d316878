"""Panels of points, lines, bars and gains, put together into one SVG file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from antiphon.chart import ticks
from antiphon.html import Markup, element
from trainer.statistics import Comparison, Interval

WIDTH, HEIGHT = 380, 270  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 60, 16, 34, 46
_CHARACTER = 7  # about the width of one
LINE = 20  # of the series' names
COLOURS = ("#2563a8", "#c0392b", "#2e7d32", "#b7791f", "#6b46c1", "#0f766e")
STYLE = """
text { font: 12px sans-serif; fill: #333 } .title { font-weight: bold; font-size: 13px }
.grid { stroke: #ddd } .line { fill: none; stroke-width: 2 } .interval { stroke-width: 2 }
.level { stroke: #333; stroke-width: 1.5; stroke-dasharray: 5 3 }
"""
Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """A plot of a picture; what it draws is in `parts`, `names` are its series, in the order of the colours."""

    parts: Sequence[Markup]
    names: Sequence[str] = ()
    height: int = HEIGHT


def compose(panels: Sequence[Panel], about: str, columns: int = 2) -> Markup:
    """The panels side by side, `columns` a line, under the names of their series. `about` is for who cannot see it."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.names))
    columns, parts = min(columns, len(panels)), []
    width = columns * WIDTH
    key, top = _key(names, width)
    for first in range(0, len(panels), columns):
        line = panels[first : first + columns]
        for place, panel in enumerate(line):
            parts.append(element("g", *panel.parts, transform=f"translate({place * WIDTH} {top})"))
        top += max(panel.height for panel in line)
    ground = element("rect", width=width, height=top, fill="#fff")
    return element(
        "svg", element("style", Markup(STYLE)), ground, *key, *parts, viewBox=f"0 0 {width} {top}",
        width=width, height=top, role="img", aria_label=about, xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def scatter(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> Panel:
    """Points of planes whose axes mean nothing."""
    points = [point for line in series.values() for point in line]
    xs, ys = ([point[axis] for point in points] for axis in (0, 1))
    at = _scale(min(xs), max(xs), min(ys), max(ys))
    parts = [_title(title), _box()]
    for number, line in enumerate(series.values()):
        dots = [element("circle", cx=x, cy=y, r=2) for x, y in (at(*point) for point in line)]
        parts.append(element("g", *dots, fill=_colour(number), fill_opacity=0.55))
    return Panel(parts, list(series))


def lines(
    title: str,
    x_title: str,
    series: Mapping[str, Sequence[tuple[float, Interval]]],
    labels: Mapping[float, str] | None = None,
    level: float | None = None,
) -> Panel:
    """One line for each series, with intervals; `labels` name places on the x axis, `level` is a dashed line across."""
    points = [point for line in series.values() for point in line]
    xs = sorted({x for x, _ in points})
    across = list(labels) if labels else ticks(xs[0], xs[-1], whole=True)
    ends = [end for _, found in points for end in (found.low, found.high)] + ([] if level is None else [level])
    up = ticks(min(ends), max(ends))
    margin = 0.5 if labels else 0.0
    at = _scale(min(across) - margin, max(across) + margin, up[0], up[-1])
    parts = [_title(title), *_axes(at, across, up, x_title, labels)]
    if level is not None:
        y = at(across[0], level)[1]
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="level"))
    for number, (name, line) in enumerate(series.items()):
        colour, drawn = _colour(number), []
        spots = [at(x, found.mean) for x, found in line]
        drawn.append(element("polyline", points=" ".join(f"{x},{y}" for x, y in spots), class_="line", stroke=colour))
        for (x, found), (place, y) in zip(line, spots, strict=True):
            if found.low < found.high:
                low, high = (at(x, end)[1] for end in (found.low, found.high))
                drawn.append(element("line", x1=place, x2=place, y1=low, y2=high, class_="interval", stroke=colour))
            shown = labels[x] if labels else f"{x:g}"
            told = element("title", f"{name}, {x_title} {shown}: {found.mean:.4f}")
            drawn.append(element("circle", told, cx=place, cy=y, r=3.5, fill=colour))
        parts.append(element("g", *drawn))
    return Panel(parts, list(series))


def bars(title: str, x_title: str, heights: Mapping[int, float]) -> Panel:
    """How much there is of each whole number; a number that is not there has nothing."""
    low, high = min(heights), max(heights)
    up = ticks(0.0, max(heights.values()))
    at = _scale(low - 0.5, high + 0.5, 0.0, up[-1])
    across = [x for x in ticks(low, high, whole=True) if low <= x <= high]
    parts, floor = [_title(title), *_axes(at, across, up, x_title)], at(low, 0.0)[1]
    for number, height in heights.items():
        (left, top), (right, _) = at(number - 0.4, height), at(number + 0.4, height)
        told = element("title", f"{x_title} {number}: {height:g}")
        parts.append(element("rect", told, x=left, y=top, width=round(right - left, 1), height=round(floor - top, 1),
                             fill=_colour(0)))  # fmt: skip
    return Panel(parts)


def gains(title: str, x_title: str, groups: Mapping[str, Mapping[str, Comparison]], names: Sequence[str]) -> Panel:
    """For each group a line for each of `names` that it has: the difference with its interval, beside 0."""
    step, gap = 14, 12
    tall = [step * len(names) + gap for _ in groups]
    bottom = TOP + sum(tall)
    ends = [end for found in groups.values() for one in found.values() for end in (one.low, one.high)]
    across = ticks(min(*ends, 0.0), max(*ends, 0.0))
    left = max(LEFT + 60, 20 + _CHARACTER * max(map(len, groups)))

    def place(value: float) -> float:
        share = (value - across[0]) / (across[-1] - across[0])
        return round(left + share * (WIDTH - left - RIGHT), 1)

    parts = [_title(title)]
    zero, every = across.index(0.0), 1 + len(across) // 6
    for number, tick in enumerate(across):
        x = place(tick)
        parts.append(element("line", x1=x, x2=x, y1=TOP - 4, y2=bottom, class_="grid" if tick else "level"))
        if (number - zero) % every == 0:
            words = f"{tick:g}".replace("-", "−")
            parts.append(element("text", words, x=x, y=bottom + 16, text_anchor="middle"))
    parts.append(element("text", x_title, x=(left + WIDTH - RIGHT) / 2, y=bottom + 34, text_anchor="middle"))
    top = TOP
    for (group, found), height in zip(groups.items(), tall, strict=True):
        parts.append(element("text", group, x=left - 10, y=top + height / 2, text_anchor="end"))
        for number, name in enumerate(names):
            if name not in found:
                continue
            one, y, colour = found[name], top + step * number + step / 2 + gap / 2, _colour(number)
            low, high = place(one.low), place(one.high)
            told = element("title", f"{group}, {name}: {one.difference:+.4f} ({one.low:+.4f} to {one.high:+.4f})")
            parts.append(element("line", x1=low, x2=high, y1=y, y2=y, class_="interval", stroke=colour))
            parts.append(element("circle", told, cx=place(one.difference), cy=y, r=3.5, fill=colour))
        top += height
    return Panel(parts, names, bottom + BOTTOM)


def _scale(left: float, right: float, low: float, high: float) -> Place:
    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - left) / (right - left or 1), (y - low) / (high - low or 1)
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
        )

    return at


def _axes(
    at: Place, across: Sequence[float], up: Sequence[float], x_title: str, labels: Mapping[float, str] | None = None
) -> list[Markup]:
    parts, digits = [], max(0, -math.floor(math.log10(up[1] - up[0]) + 1e-9))
    for y in up:
        height = at(across[0], y)[1]
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height, class_="grid"))
        parts.append(element("text", f"{y:.{digits}f}", x=LEFT - 6, y=height + 4, text_anchor="end"))
    for x in across:
        words = labels[x] if labels else f"{x:g}"
        parts.append(element("text", words, x=at(x, up[0])[0], y=HEIGHT - BOTTOM + 17, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*parts, element("text", x_title, x=middle, y=HEIGHT - 10, text_anchor="middle")]


def _box() -> Markup:
    inner = {"width": WIDTH - LEFT - RIGHT + 24, "height": HEIGHT - TOP - BOTTOM + 24}
    return element("rect", x=LEFT - 12, y=TOP - 12, **inner, fill="none", class_="grid")


def _title(title: str) -> Markup:
    return element("text", title, x=12, y=16, class_="title")


def _key(names: Sequence[str], width: int) -> tuple[list[Markup], int]:
    """The series' names with their colours, on as many lines as they need, and their height."""
    parts, x, y = [], 12.0, 16
    for number, name in enumerate(names):
        wide = 28 + 6.4 * len(name)
        if parts and x + wide > width:
            x, y = 12.0, y + LINE
        parts.append(element("circle", cx=round(x + 4, 1), cy=y, r=4, fill=_colour(number)))
        parts.append(element("text", name, x=round(x + 13, 1), y=y + 4))
        x += wide
    return parts, y + LINE - 6 if names else 0


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
