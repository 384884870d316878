"""A line chart as inline SVG; colours come from the page, so it follows light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from antiphon.html import Markup, element

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34
Points = Sequence[tuple[float, float]]


def lines(series: Mapping[str, Points], x_title: str, marks: Mapping[str, float] | None = None) -> Markup:
    """One line for each entry of `series`, (x, y) in ascending x; `marks` puts a ring at a series' x.

    Raises:
        ValueError: there is not one point.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        raise ValueError("a chart needs at least one point")
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points), whole=True)
    y_ticks = ticks(min(y for _, y in points), max(y for _, y in points))
    low, high = min(x_ticks[0], points[0][0]), max(x_ticks[-1], max(x for x, _ in points))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - low) / (high - low or 1)
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0] or 1)
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
        )

    drawn = [_grid(x_ticks, y_ticks, at, x_title)]
    for number, (name, line) in enumerate(series.items()):
        spots = [at(x, y) for x, y in line]
        path = " ".join(f"{x},{y}" for x, y in spots)
        parts = [element("polyline", points=path, class_="line")]
        for (x, y), (across, down) in zip(line, spots, strict=True):
            ring = marks is not None and marks.get(name) == x
            label = element("title", f"{name}, {x_title} {x:g}: {y:.4g}")
            parts.append(element("circle", label, cx=across, cy=down, r=4.5 if ring else 2,
                                 class_="ring" if ring else "dot"))  # fmt: skip
        drawn.append(element("g", *parts, class_=f"series-{number % 6}"))
    return element(
        "svg", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img",
        aria_label=f"{', '.join(series)} by {x_title}", xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def legend(names: Sequence[str]) -> Markup:
    """The names of the series, each with its colour."""
    entries = [
        element("span", element("span", class_=f"key series-{number % 6}"), name)
        for number, name in enumerate(names)
    ]
    return element("p", *entries, class_="legend")


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Four to eight round numbers that cover [low, high]: steps of 1, 2 or 5 times a power of ten."""
    span = high - low or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _grid(x_ticks: Sequence[float], y_ticks: Sequence[float], at, x_title: str) -> Markup:
    parts = []
    digits = max(0, -math.floor(math.log10(y_ticks[1] - y_ticks[0]) + 1e-9))
    for y in y_ticks:
        _, down = at(x_ticks[0], y)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=down, y2=down, class_="grid"))
        parts.append(element("text", f"{y:.{digits}f}", x=LEFT - 6, y=down + 4, text_anchor="end"))
    for x in x_ticks:
        across, down = at(x, y_ticks[0])
        parts.append(element("text", f"{x:g}", x=across, y=down + 16, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(element("text", x_title, x=middle, y=HEIGHT - 2, text_anchor="middle"))
    return element("g", *parts, class_="axes")
