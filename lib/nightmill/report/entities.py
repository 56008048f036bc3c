"""How each entity of a use case is: its error on the last day with truth, the night's prediction, its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nightmill.clock import Clock
from nightmill.config import UseCase
from nightmill.lake.live import Codes, day_batches, live_errors
from nightmill.lake.tables import Lake, Table
from nightmill.report.told import Alarm, Entities, Status

Floats = NDArray[np.float64]
ROWS = 3_000_000
"""Predictions whose errors are looked at: a day with truth, and as many before it as that allows."""
DAYS = 7
"""Earlier days that tell what is usual of an entity."""


@dataclass
class Night:
    """The night's predictions, [entities] each."""

    names: list[str] = field(default_factory=list)
    value: Floats = field(default_factory=lambda: np.zeros(0))
    lo: Floats = field(default_factory=lambda: np.zeros(0))
    hi: Floats = field(default_factory=lambda: np.zeros(0))
    lowest: Floats = field(default_factory=lambda: np.zeros(0))
    highest: Floats = field(default_factory=lambda: np.zeros(0))
    ts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Origin, µs UTC."""


@dataclass
class Past:
    """Errors of the days whose truth is known."""

    day: date | None = None
    """The last of them."""
    last: dict[str, float] = field(default_factory=dict)
    """Entity -> mean absolute error on it."""
    before: dict[str, list[float]] = field(default_factory=dict)
    """Entity -> mean absolute error on each of the days before."""


def night_of(predictions: Table, day: date, steps: int) -> Night:
    """Of each entity the prediction of its last origin for the longest horizon, and the extremes over all."""
    codes, found = Codes(), Night()
    for batch in day_batches(predictions, day, ["entity", "ts", "horizon", "value", "lo", "hi"]):
        code = codes.of(batch["entity"])
        _widen(found, len(codes.numbers))
        ts = np.asarray(batch["ts"].cast(pa.int64()).to_numpy(zero_copy_only=False))
        value, lo, hi = (batch[name].to_numpy(zero_copy_only=False).astype(float) for name in ("value", "lo", "hi"))
        np.fmin.at(found.lowest, code, value)
        np.fmax.at(found.highest, code, value)
        furthest = np.isin(batch["horizon"].to_numpy(zero_copy_only=False), (0, steps))
        np.maximum.at(found.ts, code[furthest], ts[furthest])
        newest = furthest & (ts == found.ts[code])
        for column, part in ((found.value, value), (found.lo, lo), (found.hi, hi)):
            column[code[newest]] = part[newest]
    found.names = list(codes.numbers)
    return found


def _widen(found: Night, size: int) -> None:
    more = size - len(found.value)
    if more:
        for name in ("value", "lo", "hi", "lowest", "highest"):
            setattr(found, name, np.pad(getattr(found, name), (0, more), constant_values=np.nan))
        found.ts = np.pad(found.ts, (0, more), constant_values=np.iinfo(np.int64).min)


def past_of(lake: Lake, use_case: UseCase, scored: Mapping[date, int], clock: Clock) -> Past:
    """Errors of the last day with truth and of those before it, as far as `ROWS` reaches."""
    gold, predictions = lake.table("gold", use_case.name), lake.table("predictions", use_case.name)
    version = gold.version()
    found, left = Past(), ROWS
    if version is None:
        return found
    for day, rows in reversed(list(scored.items())):
        enough = found.day is not None and ((found.day - day).days > DAYS or rows > left)
        if enough or (found.day is None and left <= 0):
            break
        left -= rows
        errors = live_errors(predictions, gold, version, day, clock).by_entity()
        if errors and found.day is None:
            found.day, found.last = day, errors
        else:
            for name, error in errors.items():
                found.before.setdefault(name, []).append(error)
    return found


def entities_of(
    use_case: UseCase,
    night: Night,
    past: Past,
    alarms: list[Alarm],
    slices: Mapping[str, Mapping[str, str]],
    areas: Mapping[str, str],
) -> Entities:
    """All entities that were predicted or measured, with what is known of each. `slices` are column -> entity -> value.

    An entity is in alarm if its slice is, or if its prediction is beyond the limit of the use case. It is worse than
    usual where its error is above all of the days before and, by the alarm's factor, above their mean and what
    entities usually have.
    """
    names = sorted({*night.names, *past.last}, key=_natural)
    place = {name: number for number, name in enumerate(night.names)}
    alarmed = _in_slices(alarms, slices) | _beyond(use_case, night)
    usual = {name: sum(errors) / len(errors) for name, errors in past.before.items()}
    middle = float(np.median(list(past.last.values()))) if past.last else 0.0

    def status(name: str) -> Status:
        if name in alarmed:
            return "alarm"
        now, before = past.last.get(name), past.before.get(name, [])
        factor = use_case.monitor.error
        if now is not None and len(before) > 1 and now > max(*before, factor * usual[name], factor * middle):
            return "worse"
        return "normal" if name in place else "unknown"

    def of(column: Floats) -> list[float]:
        return [float(column[place[name]]) if name in place else float("nan") for name in names]

    area = areas or next(iter(slices.values()), {})
    return Entities(
        names=names,
        area=[area.get(name, "") for name in names],
        status=[status(name) for name in names],
        error=[past.last.get(name, float("nan")) for name in names],
        usual=[usual.get(name, float("nan")) for name in names],
        value=of(night.value),
        lo=of(night.lo),
        hi=of(night.hi),
    )


def _in_slices(alarms: list[Alarm], slices: Mapping[str, Mapping[str, str]]) -> set[str]:
    found: set[str] = set()
    for alarm in alarms:
        item, _, value = alarm.slice.partition("=")
        if alarm.is_up and value:
            found |= {name for name, one in slices.get(item, {}).items() if one == value}
    return found


def _beyond(use_case: UseCase, night: Night) -> set[str]:
    limits = use_case.monitor
    low = night.lowest < limits.below if limits.below is not None else np.zeros(len(night.names), bool)
    high = night.highest > limits.above if limits.above is not None else np.zeros(len(night.names), bool)
    return {night.names[int(place)] for place in np.flatnonzero(low | high)}


def _natural(name: str) -> tuple[int, int, str]:
    """m2 before m10."""
    return (0, int(name), name) if name.isdecimal() else (1, len(name), name)
