"""Maps and floor plans as SVG: areas, edges, and a sign per entity whose form says what its colour says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from nightmill.report.charts import framed
from nightmill.report.told import Plan, Status
from nightmill.report.words import number, plural

WIDE = 560.0
MARGIN = 30.0
FLATTEST, TALLEST = 0.5, 0.92
"""Height as a share of the width."""
WORDS: dict[Status, str] = {
    "alarm": "in alarm",
    "worse": "worse than usual",
    "normal": "as usual",
    "unknown": "no forecast",
}
Point = tuple[float, float]


@dataclass(frozen=True)
class Drawn:
    """A plan on paper."""

    picture: Markup
    points: list[tuple[int, int]]
    """Places of the spots in the picture, in tenths."""
    wide: float
    high: float


def draw(plan: Plan) -> Drawn:
    """The picture of a plan; alarms lie on top."""
    points, high = _placed(plan)
    size = 5.0 if len(plan.spots) < 150 else 2.6 if len(plan.spots) < 1200 else 1.7
    body = _areas(plan, points)
    if plan.edges:
        path = "".join(f"M{_at(points[a])}L{_at(points[b])}" for a, b in plan.edges)
        body.append(f'<path class="edges" d="{path}"/>')
    for status in ("unknown", "normal", "worse", "alarm"):
        path = "".join(_SIGNS[status](p, size) for p, s in zip(points, plan.spots, strict=True) if s.status == status)
        if path:
            body.append(
                f'<path class="spots {status}" stroke-width="{size * 2 if status == "normal" else size / 4}" '
                f'd="{path}"/>'
            )
    body += _labels(plan, points)
    body.append('<circle class="cursor" r="9" visibility="hidden"/>')
    tenths = [(round(10 * x), round(10 * y)) for x, y in points]
    return Drawn(framed("".join(body), WIDE, high, said(plan), "plan"), tenths, WIDE, high)


def said(plan: Plan) -> str:
    """What a plan shows, in words."""
    counts = ", ".join(f"{number(plan.count(status))} {WORDS[status]}" for status in WORDS if plan.count(status))
    worst = _by_area(plan, "alarm")
    where = "; in alarm: " + ", ".join(f"{many} in {area}" for area, many in worst[:4]) if worst else ""
    kind = "Map" if plan.kind == "map" else "Floor plan"
    return f"{kind} of {plan.domain} with {plural(len(plan.spots), 'entity', 'entities')}: {counts}{where}."


def legend_sign(status: Status) -> Markup:
    """A status' sign as it stands on plans."""
    width = 8 if status == "normal" else 1.7
    path = _SIGNS[status]((8, 8), 4)
    return Markup(
        f'<svg class="sign" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
        f'<path class="spots {status}" stroke-width="{width}" d="{path}"/></svg>'
    )


def _by_area(plan: Plan, status: Status) -> list[tuple[str, int]]:
    found: dict[str, int] = {}
    for spot in plan.spots:
        if spot.status == status and spot.area:
            found[spot.area] = found.get(spot.area, 0) + 1
    return sorted(found.items(), key=lambda item: -item[1])


def _placed(plan: Plan) -> tuple[list[Point], float]:
    """Places in the picture, north above, one scale for both ways; and the picture's height."""
    xs, ys = [spot.x for spot in plan.spots], [spot.y for spot in plan.spots]
    # degrees of longitude are shorter the further from the equator
    narrow = math.cos(math.radians(sum(ys) / len(ys))) if plan.degrees else 1.0
    west, north = min(xs), max(ys)
    across, up = (max(xs) - west) * narrow, north - min(ys)
    high = min(max(up / across if across else TALLEST, FLATTEST), TALLEST) * WIDE
    scale = min((WIDE - 2 * MARGIN) / (across or 1), (high - 2 * MARGIN) / (up or 1))
    left = (WIDE - across * scale) / 2
    top = (high - up * scale) / 2
    return [(left + (x - west) * narrow * scale, top + (north - y) * scale) for x, y in zip(xs, ys, strict=True)], high


def _members(plan: Plan, points: Sequence[Point]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for spot, point in zip(plan.spots, points, strict=True):
        if spot.area:
            found.setdefault(spot.area, []).append(point)
    return dict(sorted(found.items()))


def _areas(plan: Plan, points: Sequence[Point]) -> list[str]:
    found = []
    alarmed = dict(_by_area(plan, "alarm"))
    for area, members in _members(plan, points).items():
        whole = alarmed.get(area, 0) > 0.5 * len(members)
        outline = _box(members, 14) if plan.kind == "floor" else _wider(hull(members), 12)
        path = "M" + "L".join(_at(point) for point in outline) + "Z"
        found.append(f'<path class="area{" alarmed" if whole else ""}" d="{path}"/>')
    return found


def _labels(plan: Plan, points: Sequence[Point]) -> list[str]:
    found = []
    for area, members in _members(plan, points).items():
        x, top = sum(p[0] for p in members) / len(members), min(p[1] for p in members)
        if plan.kind == "floor":
            found.append(_label(min(p[0] for p in members) - 12, top - 18, area, "start"))
        else:
            found.append(_label(x, sum(p[1] for p in members) / len(members) + 4, area, "middle"))
    return found


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="place" x="{x:.1f}" y="{max(y, 11):.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def hull(points: Sequence[Point]) -> list[Point]:
    """The convex hull (Andrew's monotone chain), without the points inside."""
    found = sorted(set(points))
    if len(found) < 3:
        return found

    def half(some: Sequence[Point]) -> list[Point]:
        chain: list[Point] = []
        for p in some:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        return chain[:-1]

    return half(found) + half(found[::-1])


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _wider(outline: Sequence[Point], by: float) -> list[Point]:
    if len(outline) < 3:
        return _box(outline, by)
    x, y = (sum(p[axis] for p in outline) / len(outline) for axis in (0, 1))
    found = []
    for px, py in outline:
        far = math.hypot(px - x, py - y) or 1
        found.append((px + (px - x) / far * by, py + (py - y) / far * by))
    return found


def _box(points: Sequence[Point], by: float) -> list[Point]:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    left, right, top, low = min(xs) - by, max(xs) + by, min(ys) - by, max(ys) + by
    return [(left, top), (right, top), (right, low), (left, low)]


def _at(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _dot(p: Point, size: float) -> str:
    return f"M{_at(p)}h0"  # round ends make a dot of it


def _cross(p: Point, size: float) -> str:
    s = size * 0.9
    return f"M{p[0] - s:.1f} {p[1] - s:.1f}l{2 * s:.1f} {2 * s:.1f}m0 {-2 * s:.1f}l{-2 * s:.1f} {2 * s:.1f}"


def _square(p: Point, size: float) -> str:
    s = size * 1.35
    return f"M{p[0] - s:.1f} {p[1] - s:.1f}h{2 * s:.1f}v{2 * s:.1f}h{-2 * s:.1f}z"


def _triangle(p: Point, size: float) -> str:
    s = size * 1.9
    return f"M{p[0]:.1f} {p[1] - s:.1f}l{s:.1f} {1.75 * s:.1f}h{-2 * s:.1f}z"


_SIGNS = {"alarm": _triangle, "worse": _square, "normal": _dot, "unknown": _cross}
