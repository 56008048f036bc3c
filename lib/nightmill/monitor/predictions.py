"""How a use case's predictions were: live error as truth arrives, intervals, drift, values that call for somebody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightmill.clock import Clock
from nightmill.config import DataSet, Time, UseCase
from nightmill.lake.entities import slices_of
from nightmill.lake.live import BEFORE, LIVE, NAIVE, Errors, Figures, day_batches, day_counts, live_errors, usual
from nightmill.lake.ops import events
from nightmill.lake.tables import Lake, Table
from nightmill.metrics import psi, psi_by_chance
from nightmill.monitor.alarms import Figure
from nightmill.monitor.levels import level_figures

LEAST = 30
"""Predictions with truth below which nothing is said of a slice."""
SPREAD = 100
"""Values of a histogram of ten parts below which nothing is said: fewer leave parts empty by chance."""
USUAL = 3
"""Earlier nights from which on what is usual at the day's end can be told."""
WEEK = 7
"""Days before the night's against which its inputs are held."""

Slices = Mapping[str, Mapping[str, str]]
"""Column, as in detectors.district -> entity -> value."""


@dataclass
class Watch:
    """What was measured of a use case."""

    figures: list[Figure] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """Rows of ops.metrics."""


def watch_predictions(
    lake: Lake, use_case: UseCase, data_sets: dict[str, DataSet], deciles: list[float], days: list[date], night: date
) -> Watch:
    """Figures of the predictions of these days, whose truth is new, and of the night's own.

    `deciles` are those of the champion's predictions in training; none where it does not say.
    """
    time = data_sets[next(iter(use_case.inputs))].clock
    watch, slices = Watch(), slices_of(lake, use_case, data_sets)
    gold, predictions = lake.table("gold", use_case.name), lake.table("predictions", use_case.name)
    version = gold.version() or 0
    earlier = events(lake, "metrics", subject=use_case.name, step="monitor")
    for day in days if use_case.task != "detect" else ():  # a health index is no estimate of the label
        errors = live_errors(predictions, gold, version, day, Clock.of(time.every, time.zone))
        watch.metrics += _live_rows(use_case, errors, slices, day)
    watch.figures += _error_figures(lake, use_case, watch.metrics, earlier)
    if night in predictions.days_by_partition():
        watch.figures += _spread_figure(use_case, predictions, deciles, night)
        watch.figures += level_figures(use_case, predictions, night)
        watch.figures += _fallback_figure(use_case, predictions, night)
    if use_case.target.column is not None:
        watch.figures += _input_figures(use_case, gold, version, slices, night)
    return watch


def _live_rows(use_case: UseCase, errors: Errors, slices: Slices, day: date) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def tell(part: Figures, horizon: int | None, where: str) -> None:
        if not part.n:
            return
        base = {"of": LIVE, "horizon": horizon, "slice": where, "day": day, "samples": int(part.n)}
        rows.extend(base | {"metric": name, "value": getattr(part, name)} for name in ("mae", "rmse", "bias"))
        if part.with_interval:
            rows.append(base | {"metric": "coverage", "value": part.coverage})
        if part.with_naive and use_case.target.column is not None:
            rows.append(base | {"of": NAIVE, "metric": "mae", "value": part.naive_mae})

    tell(errors.over(), None, "") if errors.entities else None
    for horizon in errors.horizons if len(errors.horizons) > 1 else []:
        tell(errors.over(horizon=horizon), horizon, "")
    for item, values in slices.items():
        of_entity = np.array([values.get(entity, "") for entity in errors.entities])
        for value in sorted(set(of_entity.tolist()) - {""}):
            tell(errors.over(of_entity == value), None, f"{item}={value}")
    return rows


def _error_figures(
    lake: Lake, use_case: UseCase, rows: list[dict[str, Any]], earlier: list[dict[str, Any]]
) -> Iterator[Figure]:
    """Of the last day with truth: error against what is usual, and coverage against what was asked for."""
    whole = [row for row in rows if row["horizon"] is None and row["samples"] >= LEAST]
    if not whole:
        return
    last = max(row["day"] for row in whole)
    errors: dict[str, dict[date, float]] = {}
    for row in earlier:
        if row["metric"] == "mae" and row["of"] == LIVE and row["horizon"] is None:
            errors.setdefault(row["slice"] or "", {})[row["day"]] = row["value"]
    for row in (row for row in whole if row["day"] == last):
        if row["metric"] == "mae" and row["of"] == LIVE:
            level = usual(errors.get(row["slice"], {}), last)
            if level is None and not row["slice"]:
                level = _tested(lake, use_case)
            if level:
                what = f"mean absolute error {row['value']:.3g} on {last}, {level:.3g} is usual"
                yield Figure(use_case.name, "error", row["slice"], row["value"] / level, use_case.monitor.error, what)
        if row["metric"] == "coverage":
            asked = use_case.score.interval
            what = f"{row['value']:.0%} of the true values of {last} lie in intervals for {asked:.0%}"
            yield Figure(use_case.name, "coverage", row["slice"], asked - row["value"], use_case.monitor.coverage, what)


def _tested(lake: Lake, use_case: UseCase) -> float | None:
    """Mean absolute error of the last candidate on the test part, as evaluation told it."""
    told = events(lake, "metrics", subject=use_case.name, step="evaluate", of="candidate", metric="mae")
    return next((row["value"] for row in reversed(told) if row["horizon"] is None), None)


def _spread_figure(use_case: UseCase, predictions: Table, deciles: list[float], night: date) -> Iterator[Figure]:
    """Of the night's predictions: their distribution against what is usual."""
    edges, shares, unlike = _expected(use_case, predictions, deciles, night)
    if not len(edges):
        return
    counts = np.zeros(len(edges) + 1)
    for batch in day_batches(predictions, night, ["value"], by_model=True):
        value = batch["value"].to_numpy(zero_copy_only=False).astype(float)
        counts += np.bincount(np.searchsorted(edges, value[np.isfinite(value)]), minlength=len(counts))
    if counts.sum() >= SPREAD:
        what = f"predictions of {night} are spread unlike {unlike}"
        # steps of one forecast move together: they count as one value
        limit = _drift_limit(use_case, shares.sum() / use_case.target.steps, counts / use_case.target.steps)
        yield Figure(use_case.name, "drift", "predictions", psi(shares, counts), limit, what)


def _fallback_figure(use_case: UseCase, predictions: Table, night: date) -> Iterator[Figure]:
    """The share of the night's predictions that the model could not make, as the table's statistics tell it."""
    rows, by_rule = day_counts(predictions).get(night, (0, 0))
    if rows:
        what = f"{by_rule:,} of {rows:,} predictions of {night} are not by the model but by the fallback"
        yield Figure(use_case.name, "fallback", "", by_rule / rows, use_case.monitor.fallback, what)


def _expected(
    use_case: UseCase, predictions: Table, deciles: list[float], night: date
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Edges of the usual distribution of predictions, its counts between them, and its name; no edges if unknown.

    It is that of training, but for forecasts from the day's end only: what is usual at that hour is told by the nights
    before, as there are weekends and other days.
    """
    if use_case.task != "forecast" or use_case.score.origins == "each":
        return np.array(deciles), np.full(len(deciles) + 1, 1e9), "those of training"
    days = [d for d in sorted(predictions.days_by_partition()) if d < night and _weekend(d) == _weekend(night)]
    if len(days) < USUAL:
        return np.zeros(0), np.ones(1), ""
    batches = day_batches(predictions, days[-BEFORE:], ["value"], by_model=True)
    value = np.concatenate([batch["value"].to_numpy(zero_copy_only=False).astype(float) for batch in batches])
    value = value[np.isfinite(value)]
    edges = np.unique(np.quantile(value, np.linspace(0.1, 0.9, 9)))
    shares = np.bincount(np.searchsorted(edges, value), minlength=len(edges) + 1)
    return edges, shares.astype(float), "those of the nights before"


def _weekend(day: date) -> bool:
    return day.weekday() >= 5


def _input_figures(use_case: UseCase, gold: Table, version: int, slices: Slices, night: date) -> Iterator[Figure]:
    """The target's column on the night's day against such days of the week before, in each slice and as a whole."""
    first = night - timedelta(days=WEEK)
    found = pc.field("day") >= first
    rows = (
        gold.delta(version)
        .to_pyarrow_dataset()
        .scanner(columns=["entity", "day", "target"], filter=found & (pc.field("day") <= night))
        .to_table()
    )
    value = rows["target"].to_numpy().astype(float)
    days = rows["day"].cast(pa.int32()).to_numpy()
    tonight, weekend = days == (night - date(1970, 1, 1)).days, (days + 3) % 7 >= 5
    alike = ~tonight & (weekend == (night.weekday() >= 5))  # as a week before has both kinds of day
    parts: dict[str, NDArray[np.bool_]] = {"": np.ones(len(value), bool)}
    for item, values in slices.items():
        encoded = rows["entity"].combine_chunks().dictionary_encode()
        of_code = np.array([values.get(name, "") for name in encoded.dictionary.to_pylist()])
        of_row = of_code[encoded.indices.to_numpy()] if len(of_code) else np.zeros(0, str)
        parts |= {f"{item}={name}": of_row == name for name in sorted(set(of_code.tolist()) - {""})}
    for where, part in parts.items():
        known = part & np.isfinite(value)
        before, now = value[known & alike], value[known & tonight]
        if min(len(before), len(now)) < SPREAD:
            continue
        edges = np.unique(np.quantile(before, np.linspace(0.1, 0.9, 9)))
        usual_, counts = (np.bincount(np.searchsorted(edges, v), minlength=len(edges) + 1) for v in (before, now))
        what = f"{use_case.target.column} of {night} is spread unlike the week before"
        limit = _drift_limit(use_case, len(before), counts)
        yield Figure(use_case.name, "drift", where or "inputs", psi(usual_, counts), limit, what)


def _drift_limit(use_case: UseCase, expected: float, counts: NDArray[Any]) -> float:
    """The limit of the use case, or where there are few values what chance alone may bring."""
    return max(use_case.monitor.drift, psi_by_chance(expected, float(counts.sum()), len(counts)))


def stale_days(lake: Lake, use_case: UseCase, time: Time, night: date, lookback: timedelta) -> list[date]:
    """Days with predictions whose truth is new since they were last watched, oldest first."""
    gold, predictions = lake.table("gold", use_case.name), lake.table("predictions", use_case.name)
    if not gold.exists() or not predictions.exists():
        return []
    scored = {day for day in predictions.days_by_partition() if night - lookback <= day <= night}
    read = events(lake, "lineage", subject=use_case.name, step="monitor", table=gold.label, direction="read")
    changed = gold.changed_days(read[-1]["version"] if read else None, gold.version() or 0)
    if changed is None:
        return sorted(scored)
    reach = timedelta(days=-(-use_case.target.steps * time.every // timedelta(days=1)))
    return sorted(day for day in scored if any(day <= other <= day + reach for other in changed))
