from xml.etree import ElementTree

import pytest

from antiphon import chart

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "low, high, whole, expected",
    [
        (0.0, 1.0, False, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1, 30, True, [0, 5, 10, 15, 20, 25, 30]),
        (1, 2, True, [1, 2]),
        (3.1, 8.9, False, [3, 4, 5, 6, 7, 8, 9]),
        (0.05, 0.05, False, [0.05, 0.06]),
        (0, 0, False, [0.0, 0.2]),
    ],
)
def test_ticks_are_round_and_cover_the_values(low, high, whole, expected):
    found = chart.ticks(low, high, whole)
    assert found[0] <= low and found[-1] >= high
    assert found[: len(expected)] == pytest.approx(expected[: len(found)])


def test_a_line_goes_from_corner_to_corner():
    drawn = ElementTree.fromstring(chart.lines({"a": [(0, 0.0), (10, 1.0)]}, "epoch"))
    (line,) = drawn.iter(f"{SVG}polyline")
    left, right = chart.LEFT, chart.WIDTH - chart.RIGHT
    bottom, top = chart.HEIGHT - chart.BOTTOM, chart.TOP
    assert line.get("points") == f"{left:.1f},{bottom:.1f} {right:.1f},{top:.1f}"


def test_a_mark_is_a_ring_and_every_point_has_its_words():
    drawn = ElementTree.fromstring(chart.lines({"<a>": [(1, 0.25), (2, 0.5)]}, "epoch", {"<a>": 2}))
    circles = list(drawn.iter(f"{SVG}circle"))
    assert [circle.get("class") for circle in circles] == ["dot", "ring"]
    assert circles[0].find(f"{SVG}title").text == "<a>, epoch 1: 0.25"


def test_one_point_is_enough_and_none_is_an_error():
    ElementTree.fromstring(chart.lines({"a": [(1, 0.5)]}, "epoch"))
    with pytest.raises(ValueError, match="at least one point"):
        chart.lines({"a": []}, "epoch")
