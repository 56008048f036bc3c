"""Small charts as SVG: drawn with the page, they need no script. Colours are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from nightmill.report.words import number

WIDE, HIGH = 440, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26
MAX_LABELS = 6
FEW = 6
"""Points of a line below which each is marked."""


@dataclass(frozen=True)
class Line:
    """A line of a chart; a value that is not known interrupts it."""

    name: str
    css: str
    values: Sequence[float]


def framed(body: str, wide: float, high: float, label: str, css: str = "chart") -> Markup:
    """A picture with the text that says the same."""
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(css, _n(wide), _n(high), _n(wide), _n(high), label, Markup(body))


def ticks(low: float, high: float, many: int = 4) -> list[float]:
    """Round numbers from low to high."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / many
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def lines(labels: Sequence[str], drawn: Sequence[Line], unit: str, label: str, *, zero: bool = True) -> Markup:
    """Lines over equally spaced labels, with an axis in `unit`."""
    known = [v for line in drawn for v in line.values if math.isfinite(v)]
    if not known:
        return Markup("")
    low, high = (0.0 if zero else min(known)), max(known)
    high = high * 1.08 if high > 0 else low + 1
    low -= 0 if zero else (high - low) * 0.08

    def x(place: int) -> float:
        return LEFT + (WIDE - LEFT - RIGHT) * (place / (len(labels) - 1) if len(labels) > 1 else 0.5)

    def y(value: float) -> float:
        return TOP + (HIGH - TOP - BOTTOM) * (1 - (value - low) / (high - low))

    parts = _axes(low, high, y, unit)
    every = max(1, math.ceil(len(labels) / MAX_LABELS))
    for place in range(len(labels) - 1, -1, -every):
        anchor = "end" if place == len(labels) - 1 and len(labels) > 1 else "middle"
        parts.append(_text(x(place), HIGH - 8, labels[place], anchor))
    for line in drawn:
        path, pen = [], False
        for place, value in enumerate(line.values):
            if math.isfinite(value):
                path.append(f"{'L' if pen else 'M'}{_n(x(place))} {_n(y(value))}")
            pen = math.isfinite(value)
        parts.append(f'<path class="line {line.css}" d="{"".join(path)}"/>')
        told = [place for place, value in enumerate(line.values) if math.isfinite(value)]
        for place in told if len(told) < FEW else told[-1:]:
            at = f'cx="{_n(x(place))}" cy="{_n(y(line.values[place]))}"'
            parts.append(f'<circle class="dot {line.css}" {at} r="3.5"/>')
    return framed("".join(parts), WIDE, HIGH, label)


def stacked(labels: Sequence[str], parts_of: Sequence[Sequence[float]], css: Sequence[str], label: str) -> Markup:
    """Bars in parts over labels, the last bar marked."""
    high = max((sum(parts) for parts in parts_of), default=0) * 1.08
    if high <= 0:
        return Markup("")
    tall = 150

    def y(value: float) -> float:
        return TOP + (tall - TOP - BOTTOM) * (1 - value / high)

    body = _axes(0, high, y, "", many=2)
    room = (WIDE - LEFT - RIGHT) / len(labels)
    every = max(1, math.ceil(len(labels) / MAX_LABELS))
    for place, parts in enumerate(parts_of):
        left, base = LEFT + place * room + room * 0.15, 0.0
        for part, name in zip(parts, css):
            if part > 0:
                top = y(base + part)
                # what is refused must be seen, however little it is
                tall_enough = max(y(base) - top, 1.5)
                body.append(
                    f'<rect class="bar {name}" x="{_n(left)}" y="{_n(y(base) - tall_enough)}" '
                    f'width="{_n(room * 0.7)}" height="{_n(tall_enough)}"/>'
                )
                base += part
        if (len(labels) - 1 - place) % every == 0:
            body.append(_text(left + room * 0.35, tall - 8, labels[place], "middle"))
    return framed("".join(body), WIDE, tall, label)


def bars(rows: Sequence[tuple[str, float, str]], unit: str, label: str) -> Markup:
    """Horizontal bars from zero: name, value, class."""
    rows = [row for row in rows if math.isfinite(row[1])]
    high = max((value for _, value, _ in rows), default=0)
    if high <= 0:
        return Markup("")
    start, row_high = 132, 28
    room = WIDE - start - 92
    body = []
    for place, (name, value, css) in enumerate(rows):
        top = place * row_high + 4
        body.append(_text(start - 8, top + 14, name, "end", "name"))
        body.append(
            f'<rect class="bar {css}" x="{start}" y="{top + 2}" width="{_n(max(1, room * value / high))}" height="16"/>'
        )
        said = f"{number(value)} {unit}".strip()
        body.append(_text(start + room * value / high + 6, top + 14, said, "start", "value"))
    return framed("".join(body), WIDE, len(rows) * row_high + 6, label)


def whiskers(
    rows: Sequence[tuple[str, float, float, float, str]], unit: str, limit: float | None, label: str
) -> Markup:
    """Dots with intervals, one below the other: name, value, lo, hi, class. A limit is a dashed line."""
    known = [v for _, value, lo, hi, _ in rows for v in (value, lo, hi) if math.isfinite(v)]
    if not known:
        return Markup("")
    low, high = min(0.0, *known), max(known) * 1.05 or 1.0
    start, row_high = 112, 21
    tall = len(rows) * row_high + 34

    def x(value: float) -> float:
        return start + (WIDE - start - RIGHT) * (min(max(value, low), high) - low) / (high - low)

    body = []
    for tick in ticks(low, high, 5):
        body.append(f'<path class="grid" d="M{_n(x(tick))} 4V{tall - 28}"/>')
        body.append(_text(x(tick), tall - 14, short(tick), "middle"))
    body.append(_text(WIDE - RIGHT, tall - 1, unit, "end"))
    if limit is not None:
        body.append(f'<path class="limit" d="M{_n(x(limit))} 2V{tall - 28}"/>')
    for place, (name, value, lo, hi, css) in enumerate(rows):
        middle = place * row_high + 15
        body.append(_text(start - 8, middle + 4, name if len(name) < 14 else name[:12] + "…", "end", "name"))
        if math.isfinite(lo) and math.isfinite(hi):
            body.append(f'<path class="whisker" d="M{_n(x(lo))} {middle}H{_n(x(hi))}"/>')
        if math.isfinite(value):
            body.append(f'<circle class="dot {css}" cx="{_n(x(value))}" cy="{middle}" r="4.5"/>')
    return framed("".join(body), WIDE, tall, label)


def times(rows: Sequence[float]) -> list[Markup]:
    """A bar for each of some seconds, against the longest; said in the table's own words beside it."""
    longest = max(rows, default=0)
    frame = 'class="time" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"'
    drawn = f'<svg {frame}><rect class="bar" {{}}/></svg>'
    return [
        Markup(drawn.format(f'width="{_n(max(0.6, 100 * one / longest))}" height="8"'))
        if longest and one
        else Markup("")
        for one in rows
    ]


def _axes(low: float, high: float, y: object, unit: str, many: int = 4) -> list[str]:
    place = y
    assert callable(place)
    parts = []
    shown = ticks(low, high, many)
    for tick in shown:
        parts.append(f'<path class="grid" d="M{LEFT} {_n(place(tick))}H{WIDE - RIGHT}"/>')
        parts.append(_text(LEFT - 6, place(tick) + 4, short(tick), "end"))
    if unit and shown:
        parts.append(_text(LEFT + 4, TOP + 4, unit, "start", "unit"))
    return parts


def short(value: float) -> str:
    """A tick's number: 12000 -> 12k."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if sign == 'k' else size):.3g}{sign}"
    return f"{value:.4g}".replace("-", "−", 1)


def _text(x: float, y: float, text: str, anchor: str, css: str = "tick") -> str:
    return f'<text class="{css}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
