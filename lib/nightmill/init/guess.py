"""What the columns of a table are: its time, its step and zone, its entities, types, units and ranges."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pandas as pd

from nightmill.config.values import format_duration

FORMATS = (
    (None, "ISO8601"),
    ("yyyy-MM-dd HH:mm:ss", "%Y-%m-%d %H:%M:%S"),
    ("d.M.yyyy H:mm:ss", "%d.%m.%Y %H:%M:%S"),
    ("d.M.yyyy H:mm", "%d.%m.%Y %H:%M"),
    ("d/M/yyyy H:mm:ss", "%d/%m/%Y %H:%M:%S"),
    ("M/d/yyyy H:mm:ss", "%m/%d/%Y %H:%M:%S"),
    ("d/M/yyyy H:mm", "%d/%m/%Y %H:%M"),
    ("M/d/yyyy H:mm", "%m/%d/%Y %H:%M"),
    ("d/M/yy H:mm", "%d/%m/%y %H:%M"),
    ("M/d/yy H:mm", "%m/%d/%y %H:%M"),
    ("d/M/yy H", "%d/%m/%y %H"),
    ("M/d/yy H", "%m/%d/%y %H"),
    ("M/d/yyyy h:mm a", "%m/%d/%Y %I:%M %p"),
    ("M/d/yyyy h:mm:ss a", "%m/%d/%Y %I:%M:%S %p"),
    ("d.M.yyyy", "%d.%m.%Y"),
    ("d/M/yyyy", "%d/%m/%Y"),
    ("M/d/yyyy", "%m/%d/%Y"),
)
"""Spark's pattern and Python's; None reads ISO 8601."""
ZONES = (
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
)
"""Zones whose clock changes are looked for, one for each rule of changing."""
UNITS = {word: unit for words, unit in (
    ("c °c celsius", "°C"), ("f fahrenheit", "°F"), ("k kelvin", "K"), ("kmh km/h kph", "km/h"), ("mph", "mph"),
    ("mps m/s", "m/s"), ("mm", "mm"), ("cm", "cm"), ("m", "m"), ("km", "km"), ("wh", "Wh"), ("kwh", "kWh"),
    ("mwh", "MWh"), ("w", "W"), ("kw", "kW"), ("mw", "MW"), ("v", "V"), ("a", "A"), ("hz", "Hz"),
    ("bar", "bar"), ("pa", "Pa"), ("hpa", "hPa"), ("mbar", "mbar"), ("rpm", "rpm"), ("nm", "N*m"), ("kg", "kg"),
    ("g", "g"), ("t", "t"), ("l", "L"), ("m3", "m³"), ("l/s", "L/s"), ("min", "min"), ("h", "h"), ("s", "s"),
    ("pct percent %", "%"), ("ugm3 µg/m3 µg/m³", "µg/m³"), ("db dba", "dB"), ("deg °", "°"),
) for word in words.split()}  # fmt: skip
"""How units are written in names of columns, in small letters."""


@dataclass
class TimeFound:
    """The column of the time."""

    column: str
    format: str | None
    ts: pd.Series
    """Times; local ones are taken as if they were UTC."""
    has_offset: bool
    parts: dict[str, str] = field(default_factory=dict)
    """Part -> column, where several make the time together."""


def find_time(rows: pd.DataFrame) -> TimeFound | None:
    """The first column of which all values are times, and the form that gives the steadiest steps."""
    for name, column in rows.items():
        present = column.dropna()
        if (epoch := _epoch(str(name), present)) is not None:
            return TimeFound(str(name), epoch[0], epoch[1].reindex(rows.index), True)
        if present.empty or not present.str.contains(r"\d").all() or present.str.fullmatch(r"-?\d+([.,]\d+)?").all():
            continue
        found: list[tuple[float, int, str | None, pd.Series]] = []
        for pattern, python in FORMATS:
            parsed = pd.to_datetime(present, format=python, errors="coerce", utc=True)
            if parsed.notna().mean() > 0.99:
                steps = parsed.dropna().drop_duplicates().sort_values().diff().dropna()
                steady = (steps == steps.mode().iloc[0]).mean() if len(steps) else 0.0
                found.append((steady, -len(found), pattern, parsed))
        if found:
            _, _, pattern, parsed = max(found, key=lambda item: item[:2])
            offset = bool(present.str.contains(r"\d:\d\d.*(?:Z|[+-]\d\d:?\d\d)\s*$").all())
            return TimeFound(str(name), pattern, parsed.reindex(rows.index), offset)
    return None


def _epoch(name: str, present: pd.Series) -> tuple[str, pd.Series] | None:
    """Times as seconds or milliseconds since 1970, of 2000 to 2100, in a column that is called so."""
    called = re.search(r"(?:^|[_\s])(?:ts|time|timestamp|epoch|unix|date|datetime)(?:$|[_\s])", name, re.IGNORECASE)
    if present.empty or not called or not present.str.fullmatch(r"\d{9,13}(\.\d+)?").all():
        return None
    numbers = pd.to_numeric(present)
    for form, unit, factor in (("epoch", "s", 1), ("epoch_ms", "ms", 1000)):
        if numbers.between(946_684_800 * factor, 4_102_444_800 * factor).all():
            return form, pd.to_datetime(numbers, unit=unit, utc=True)  # type: ignore[call-overload]
    return None


def find_parts(rows: pd.DataFrame, alone: TimeFound | None) -> TimeFound | None:
    """A time of several columns: year, month, day and so on, or a date without time of day beside an hour."""
    called = {re.sub(r"[^a-z]", "", str(name).lower()): str(name) for name in rows.columns}
    parts = {part: called[word] for word, part in _PARTS.items() if word in called}
    hours = {part: name for part, name in parts.items() if part in ("hour", "minute", "second")}
    if alone is None and {"year", "month", "day"} <= parts.keys():
        numbers = {part: pd.to_numeric(rows[name], errors="coerce") for part, name in parts.items()}
        ts = pd.to_datetime(pd.DataFrame(numbers), errors="coerce", utc=True)
    elif alone is not None and "hour" in hours and (alone.ts == alone.ts.dt.floor("D")).all():
        values = {part: pd.to_numeric(rows[name], errors="coerce") for part, name in hours.items()}
        seconds = pd.Series(0.0, index=rows.index)
        for part, value in values.items():
            seconds = seconds + value * _SECONDS[part]
        ts = alone.ts + pd.to_timedelta(seconds, unit="s")
        parts = {"date": alone.column, **hours}
    else:
        return alone
    return TimeFound("ts", None, ts, False, parts) if ts.notna().mean() > 0.99 else alone


_PARTS = {"year": "year", "yyyy": "year", "month": "month", "day": "day", "hour": "hour", "hr": "hour"}
_PARTS |= {"minute": "minute", "second": "second"}
_SECONDS = {"hour": 3600, "minute": 60, "second": 1}


def find_entity(rows: pd.DataFrame, ts: pd.Series, others: list[str]) -> list[str]:
    """The fewest columns that make a row's time unique; empty if it all but is by itself, or nothing helps."""
    if ts.dropna().duplicated().mean() < 0.01:  # a few records are doubled
        return []
    candidates = sorted(
        (name for name in others if 1 < rows[name].nunique() <= max(2, len(rows) // 3) and rows[name].notna().all()),
        key=lambda name: (is_number(rows[name]) and not _is_id(name), rows[name].nunique()),
    )
    doubled = {
        tuple(names): pd.concat([rows[names], ts.rename("_ts")], axis=1).duplicated().mean()
        for names in [*([name] for name in candidates), *_pairs(candidates)]
    }
    if not doubled:
        return []
    best = min(doubled, key=lambda names: (round(doubled[names], 2), len(names)))
    return list(best) if doubled[best] < 0.05 else []


def find_step(ts: pd.Series, entity: pd.Series | None) -> tuple[str, bool]:
    """The most frequent distance of two rows of one entity, as in `5 min`, and whether most have it.

    Events have none: an hour then.
    """
    table = (
        pd.DataFrame({"ts": ts, "entity": entity if entity is not None else 0}).dropna().sort_values(["entity", "ts"])
    )
    steps = table.groupby("entity")["ts"].diff()
    steps = steps[steps > pd.Timedelta(0)]
    if steps.empty:
        return "1 h", False
    step = steps.mode().iloc[0]
    if step.days in (28, 29, 30, 31) and table["ts"].dt.day.nunique() == 1:
        return "1 month", True
    if (steps == step).mean() < 0.5 or step < pd.Timedelta(seconds=1):
        return "1 h", False
    return format_duration(timedelta(seconds=round(step.total_seconds()))), True


def find_zone(found: TimeFound, entity: pd.Series | None) -> tuple[str, str, bool]:
    """The zone whose clock changes show in local times, why, and whether the hour stands twice when they go back.

    UTC where none does.
    """
    if found.has_offset:
        return "UTC", "the times say their offset", False
    local = found.ts.dropna().dt.tz_localize(None).drop_duplicates()
    step = local.sort_values().diff().mode()
    if step.empty or step.iloc[0] > pd.Timedelta(hours=1):
        return "UTC", "rows more than an hour apart do not show it: set yours", False
    seen, twice = set(local.dt.floor("h")), _doubled_hours(found, entity)
    for zone in ZONES:
        again = [hour for hour in _repeated_hours(zone, local.min(), local.max()) if hour in twice]
        if again and twice <= set(again):
            why = f"rows of one hour stand twice, as when clocks are set back there on {again[0]:%Y-%m-%d}: check it"
            return zone, why, True
        skipped = _skipped_hours(zone, local.min(), local.max())
        around = [
            hour for hour in skipped if hour - pd.Timedelta(hours=1) in seen and hour + pd.Timedelta(hours=1) in seen
        ]
        if around and not any(hour in seen for hour in around):
            why = f"no row in the hour that clocks skip there and elsewhere, as on {around[0]:%Y-%m-%d}: check it"
            return zone, why, False
    return "UTC", "the data do not show it: set yours", False


def _doubled_hours(found: TimeFound, entity: pd.Series | None) -> set[pd.Timestamp]:
    """Hours in which an entity has the same local time more than once."""
    rows = pd.DataFrame({"ts": found.ts, "entity": entity if entity is not None else ""}).dropna()
    local = rows.loc[rows.duplicated(), "ts"].dt.tz_localize(None)
    return set(local.dt.floor("h"))


def find_unit(name: str) -> str | None:
    """The unit that a column's name has in brackets or at its end, as in `Torque [Nm]` or `usage_kwh`."""
    found = re.search(r"[\[(]\s*([^\])]+?)\s*[\])]\s*$", name)
    word = found[1] if found else re.split(r"[_\s]", name)[-1] if re.search(r"[_\s]", name) else ""
    return UNITS.get(word.lower())


def is_number(column: pd.Series) -> bool:
    """Whether all values are numbers."""
    present = column.dropna()
    return not present.empty and bool(pd.to_numeric(present, errors="coerce").notna().mean() > 0.99)


_MANY = 1000
"""Rows of which a thousandth is one: of fewer none is taken for wild."""


def plausible(column: pd.Series) -> tuple[float, float]:
    """A range that all but the wildest values lie in: 0.1 % and 99.9 % of them and half as much again on both sides.

    Of few values none is taken for wild.
    """
    numbers = pd.to_numeric(column, errors="coerce").dropna()
    low, high = np.quantile(numbers, [0.001, 0.999])
    inside = numbers[(numbers >= low) & (numbers <= high)]
    low, high = (inside.min(), inside.max()) if len(inside) else (low, high)
    if len(numbers) < _MANY:
        low, high = numbers.min(), numbers.max()
    if numbers.nunique() <= 20 and (numbers == numbers.round()).all():  # codes and small counts
        return float(numbers.min()), float(numbers.max())
    margin = (high - low) / 2 or max(1.0, abs(high))
    lower = 0.0 if low >= 0 else _round(low - margin, down=True)
    return lower, _round(high + margin, down=False)


def is_counter(column: pd.Series, ts: pd.Series, entity: pd.Series | None) -> bool:
    """Whether values only grow along time, as those of a meter do, and by more than the row number would."""
    numbers = pd.to_numeric(column, errors="coerce")
    table = (
        pd.DataFrame({"v": numbers, "ts": ts, "e": entity if entity is not None else 0})
        .dropna()
        .sort_values(["e", "ts"])
    )
    steps = table.groupby("e")["v"].diff().dropna()
    return len(steps) > 20 and bool((steps >= 0).mean() > 0.998) and steps.nunique() > 3


def _skipped_hours(zone: str, first: pd.Timestamp, last: pd.Timestamp) -> list[pd.Timestamp]:
    hours = pd.date_range(first.floor("D"), last, freq="h")
    there = hours.tz_localize(zone, nonexistent="NaT", ambiguous="NaT")
    back = hours.tz_localize(zone, nonexistent="shift_forward", ambiguous=np.zeros(len(hours), bool)).tz_localize(None)
    return [hour for hour, utc, shifted in zip(hours, there, back) if pd.isna(utc) and shifted != hour]


def _repeated_hours(zone: str, first: pd.Timestamp, last: pd.Timestamp) -> list[pd.Timestamp]:
    hours = pd.date_range(first.floor("D"), last, freq="h")
    there = hours.tz_localize(zone, nonexistent="shift_forward", ambiguous="NaT")
    return [hour for hour, utc in zip(hours, there) if pd.isna(utc)]


def _round(value: float, *, down: bool) -> float:
    """To two significant digits, away from the data."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    return float(f"{(np.floor if down else np.ceil)(value / unit) * unit:.6g}")


def _is_id(name: str) -> bool:
    return bool(
        re.search(r"(?:^|[_\s])(?:id|no|nr|number|station|sensor|device|machine|unit)$|[a-z]I[Dd]$", name, re.I)
    )


def _pairs(names: list[str]) -> list[list[str]]:
    return [[a, b] for i, a in enumerate(names[:6]) for b in names[i + 1 : 6]]
