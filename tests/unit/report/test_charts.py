"""Charts say in words what they draw; maps keep form and place."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightmill.report import charts, words
from nightmill.report.plan import draw, hull
from nightmill.report.told import Plan, Spot

NAN = float("nan")
finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(finite, finite)
def test_ticks_are_few_ascending_and_inside(low: float, high: float) -> None:
    if high - low < 1e-6:
        return
    found = charts.ticks(low, high)
    assert found == sorted(found) and len(found) <= 6
    assert all(low - 1e-6 * (high - low) <= tick <= high + 1e-6 * (high - low) for tick in found)


def test_a_line_is_interrupted_where_nothing_is_known() -> None:
    drawn = charts.lines(["a", "b", "c", "d"], [charts.Line("x", "model", [1, NAN, 2, 3])], "km/h", "said")
    (path,) = (part for part in drawn.split("<path ") if 'class="line model"' in part)
    assert path.count("M") == 2 and path.count("L") == 1
    assert 'role="img"' in drawn and 'aria-label="said"' in drawn and "km/h" in drawn


def test_nothing_known_is_nothing_drawn() -> None:
    assert charts.lines(["a"], [charts.Line("x", "model", [NAN])], "", "") == ""
    assert charts.bars([("a", NAN, "model")], "", "") == "" and charts.stacked(["a"], [[0, 0]], ["x", "y"], "") == ""
    assert charts.whiskers([("a", NAN, NAN, NAN, "model")], "", None, "") == ""


@given(st.lists(st.tuples(finite, finite), min_size=3, max_size=40))
def test_a_hull_has_all_points_on_its_left(points: list[tuple[float, float]]) -> None:
    outline = hull(points)
    if len(outline) < 3:
        return
    for a, b in zip(outline, outline[1:] + outline[:1]):
        for p in points:
            turn = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
            assert turn >= -1e-3 * max(1.0, math.dist(a, b))


def test_a_map_has_north_above_and_the_same_scale_both_ways() -> None:
    corners = [("sw", 0, 0), ("se", 2, 0), ("nw", 0, 1), ("ne", 2, 1)]
    drawn = draw(Plan("city", "map", [Spot(n, x, y, "a", "normal", "") for n, x, y in corners], [(0, 3)]))
    at = dict(zip([n for n, *_ in corners], drawn.points))
    assert at["nw"][1] < at["sw"][1] and at["sw"][0] < at["se"][0]
    assert at["se"][0] - at["sw"][0] == pytest.approx(2 * (at["sw"][1] - at["nw"][1]), abs=2)


def test_one_place_alone_and_degrees_can_be_drawn() -> None:
    assert "alarm" in draw(Plan("city", "map", [Spot("a", 5, 5, "", "alarm", "")], [])).picture
    far = [Spot("a", 13.0, 52.0, "", "normal", ""), Spot("b", 14.0, 53.0, "", "normal", "")]
    (ax, ay), (bx, by) = draw(Plan("city", "map", far, [], degrees=True)).points
    assert (bx - ax) / (ay - by) == pytest.approx(math.cos(math.radians(52.5)), rel=0.02)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (NAN, "–"), (0.0, "0"), (5, "5"), (1234567, "1\u202f234\u202f567"), (5.6, "5.60"), (19.04, "19.0")]
    + [(0.0004, "0.0004"), (123.4, "123"), (-2.5, "−2.50"), (-12, "−12")],
)
def test_numbers_have_three_digits_and_thin_spaces(value: float | None, shown: str) -> None:
    assert words.number(value) == shown


def test_shares_times_and_parts_read_well() -> None:
    assert (words.percent(0.0139), words.percent(0.5), words.percent(0)) == ("1.4\u202f%", "50\u202f%", "0\u202f%")
    assert (words.seconds(3.21), words.seconds(200)) == ("3.2\u202fs", "3\u202fmin 20\u202fs")
    assert words.seconds(7260) == "2\u202fh 1\u202fmin"
    assert words.part("detectors.district=Nord") == "district Nord"
