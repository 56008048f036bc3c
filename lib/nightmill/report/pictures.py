"""The charts of a use case's and of a data set's page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from nightmill.report import charts
from nightmill.report.told import DataPage, Figure, Live, Model, UseCasePage
from nightmill.report.words import number, percent, plural, short_day, title

URGENT = 14
"""Entities that are shown with their intervals, most urgent first."""


def comparison(page: UseCasePage) -> Markup:
    """The figures of the deciding metric over all horizons: candidate, champion, baselines."""
    rows = [f for f in page.figures if f.metric == page.metric and f.horizon is None]
    if not rows:
        return Markup("")
    css = {"candidate": "model", "champion": "model"}
    said = ", ".join(f"{title(f.of)} {number(f.value)}" for f in rows)
    unit = "" if page.metric in ("mape", "nasa_score") else page.unit
    drawn = [(title(f.of), f.value, css.get(f.of, "naive")) for f in rows]
    return charts.bars(drawn, unit, f"{page.metric} on the test part, lower is better: {said}")


def figures_by_horizon(figures: Sequence[Figure]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Heads and rows of the table of all figures: metric and horizon -> value of each contestant."""
    names = list(dict.fromkeys(f.of for f in figures))
    rows: dict[str, dict[str, float]] = {}
    for f in figures:
        ahead = "" if f.horizon is None else f", {plural(f.horizon, 'step')} ahead"
        rows.setdefault(f"{f.metric}{ahead}", {})[f.of] = f.value
    heads = [title(name) for name in names]
    return heads, [(row, [number(of.get(name, math.nan)) for name in names]) for row, of in rows.items()]


def live_error(page: UseCasePage) -> Markup:
    """Live error by day against the value at the origin."""
    if not page.live:
        return Markup("")
    drawn = [charts.Line("forecast", "model", [one.mae for one in page.live])]
    if any(math.isfinite(one.naive) for one in page.live):
        drawn.append(charts.Line("last value", "naive", [one.naive for one in page.live]))
    return charts.lines([short_day(one.day) for one in page.live], drawn, page.unit, _said_live(page.live))


def by_horizon(page: UseCasePage) -> Markup:
    """Live error of the last day with truth by steps ahead, and what is usual."""
    if len(page.horizons) < 3:
        return Markup("")
    drawn = [charts.Line("this day", "model", [part.mae for part in page.horizons])]
    if any(math.isfinite(part.usual) for part in page.horizons):
        drawn.append(charts.Line("usual", "naive", [part.usual for part in page.horizons]))
    ends = [page.horizons[0], page.horizons[-1]]
    said = " and ".join(f"{number(p.mae)} at {plural(int(p.name), 'step')}, usually {number(p.usual)}" for p in ends)
    return charts.lines([part.name for part in page.horizons], drawn, page.unit, f"Error by steps ahead: {said}")


def _said_live(live: Sequence[Live]) -> str:
    last = live[-1]
    naive = f", the last value would have had {number(last.naive)}" if math.isfinite(last.naive) else ""
    first = f"; on {short_day(live[0].day)} it was {number(live[0].mae)}" if len(live) > 1 else ""
    return f"Mean absolute error by day: {number(last.mae)} on {short_day(last.day)}{naive}{first}"


def losses(model: Model | None) -> Markup:
    """Loss on training and validation rows by epoch."""
    curves = model.curves if model else {}
    if not curves:
        return Markup("")
    epochs = sorted({epoch for points in curves.values() for epoch, _ in points})
    drawn, said = [], []
    for name, words, css in (("loss", "training", "naive"), ("validation_loss", "validation", "model")):
        points = dict(curves.get(name, []))
        if points:
            drawn.append(charts.Line(words, css, [points.get(epoch, math.nan) for epoch in epochs]))
            said.append(f"{words} from {number(points[min(points)])} to {number(points[max(points)])}")
    label = f"Loss over {plural(len(epochs), 'epoch')}: {', '.join(said)}"
    return charts.lines([str(epoch) for epoch in epochs], drawn, "loss", label)


def urgent(page: UseCasePage) -> Markup:
    """The entities with the lowest predictions, with their intervals."""
    all_of = page.entities
    order = sorted((n for n, value in enumerate(all_of.value) if math.isfinite(value)), key=lambda n: all_of.value[n])[
        :URGENT
    ]
    rows = [
        (
            all_of.names[n],
            all_of.value[n],
            all_of.lo[n],
            all_of.hi[n],
            "bad" if all_of.status[n] == "alarm" else "model",
        )
        for n in order
    ]
    first = ", ".join(f"{name} {number(value)}" for name, value, *_ in rows[:5])
    return charts.whiskers(rows, page.unit, page.limits[0], f"Lowest predictions with their intervals: {first}")


def drops(page: DataPage) -> Markup:
    """Records by day: accepted, refused, duplicates."""
    if len(page.days) < 2:
        return Markup("")
    parts = [(d.accepted, d.refused, d.duplicates) for d in page.days]
    night = page.night
    share = night.refused / night.parsed if night.parsed else math.nan
    label = (
        f"Records by day; on {short_day(night.day)} {number(night.accepted)} accepted, "
        f"{number(night.refused)} refused ({percent(share)}), {number(night.duplicates)} duplicates"
    )
    return charts.stacked([short_day(d.day) for d in page.days], parts, ("good", "bad", "muted"), label)
