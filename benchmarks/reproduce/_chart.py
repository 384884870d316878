"""R@5 of every row with its interval, beside the figures from outside: one SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.chart import ticks
from antiphon.html import Markup, element
from trainer.statistics import Interval

WIDTH, LEFT, RIGHT = 760, 190, 24
LINE, HEAD, FOOT, KEY = 22, 34, 30, 30  # heights: of a row, a panel's title, its axis, the key
STYLE = """
text { font: 12px sans-serif; fill: #333 } .title { font-weight: bold; font-size: 13px }
.grid { stroke: #ddd } .interval { stroke: #2563a8; stroke-width: 2 } .dot { fill: #2563a8 }
.published { stroke: #c0392b; stroke-width: 2.5 }
.best-known { stroke: #2e7d32; stroke-width: 1.5; stroke-dasharray: 5 3 }
"""


@dataclass(frozen=True)
class Bar:
    """One line of a panel; `published` is None where nothing is."""

    name: str
    found: Interval
    published: float | None = None


@dataclass(frozen=True)
class Panel:
    """One data set's lines; `best_known` is None where nothing is."""

    title: str
    bars: Sequence[Bar]
    best_known: float | None = None


def draw(panels: Sequence[Panel], metric: str) -> Markup:
    """The panels one under another, each with a scale of its own from 0."""
    heights = [HEAD + LINE * len(panel.bars) + FOOT for panel in panels]
    height = KEY + sum(heights)
    ground = element("rect", width=WIDTH, height=height, fill="#fff")
    known = any(panel.best_known is not None for panel in panels)
    parts, top = [element("style", Markup(STYLE)), ground, _key(known)], KEY
    for panel, tall in zip(panels, heights, strict=True):
        parts.append(element("g", *_panel(panel), transform=f"translate(0 {top})"))
        top += tall
    return element(
        "svg", *parts, viewBox=f"0 0 {WIDTH} {height}", width=WIDTH, height=height, role="img",
        aria_label=f"{metric} by row, with 95% intervals", xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def _panel(panel: Panel) -> list[Markup]:
    marks = [panel.best_known, *(mark for bar in panel.bars for mark in (bar.found.high, bar.published))]
    scale = ticks(0.0, max(mark for mark in marks if mark is not None))

    def across(value: float) -> float:
        return round(LEFT + value / scale[-1] * (WIDTH - LEFT - RIGHT), 1)

    bottom = HEAD + LINE * len(panel.bars)
    parts = [element("text", panel.title, x=12, y=18, class_="title")]
    for tick in scale:
        x = across(tick)
        parts.append(element("line", x1=x, x2=x, y1=HEAD - 6, y2=bottom, class_="grid"))
        parts.append(element("text", f"{tick:g}", x=x, y=bottom + 16, text_anchor="middle"))
    if panel.best_known is not None:
        x = across(panel.best_known)
        parts.append(element("line", x1=x, x2=x, y1=HEAD - 6, y2=bottom, class_="best-known"))
    for number, bar in enumerate(panel.bars):
        y = HEAD + LINE * number + LINE / 2 - 4
        words = f"{bar.name}: {bar.found.mean:.4f} ({bar.found.low:.4f} to {bar.found.high:.4f})"
        parts.append(element("text", bar.name, x=LEFT - 10, y=y + 4, text_anchor="end"))
        if bar.published is not None:
            x = across(bar.published)
            parts.append(element("line", x1=x, x2=x, y1=y - 7, y2=y + 7, class_="published"))
        low, high = across(bar.found.low), across(bar.found.high)
        parts.append(element("line", x1=low, x2=high, y1=y, y2=y, class_="interval"))
        dot = element("title", words)
        parts.append(element("circle", dot, cx=across(bar.found.mean), cy=y, r=4, class_="dot"))
    return parts


def _key(best_known: bool) -> Markup:
    y, known = 16, []
    if best_known:
        known = [
            element("line", x1=484, x2=484, y1=y - 8, y2=y + 8, class_="best-known"),
            element("text", "best known on this data", x=494, y=y + 4),
        ]
    return element(
        "g",
        element("line", x1=12, x2=36, y1=y, y2=y, class_="interval"),
        element("circle", cx=24, cy=y, r=4, class_="dot"),
        element("text", "ours, test, 95% interval over users", x=44, y=y + 4),
        element("line", x1=284, x2=284, y1=y - 7, y2=y + 7, class_="published"),
        element("text", "published for this backbone", x=294, y=y + 4),
        *known,
    )
