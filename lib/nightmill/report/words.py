"""Numbers, times and names as people read them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

THIN = "\u202f"
"""A narrow space that does not break: between thousands, and before units."""


def number(value: float | int | None) -> str:
    """Three significant digits, whole numbers in full, thousands apart; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if isinstance(value, int) or value == 0 or size >= 100:
        text = f"{value:,.0f}".replace(",", THIN)
    elif size >= 0.1:
        text = f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def percent(share: float | None) -> str:
    """0.0123 -> 1.2 %."""
    if share is None or not math.isfinite(share):
        return "–"
    shown = 100 * share
    return f"{shown:.0f}{THIN}%" if shown >= 10 or shown == 0 else f"{shown:.2g}{THIN}%"


def with_unit(value: float | None, unit: str) -> str:
    """A number with its unit behind it."""
    return f"{number(value)}{THIN}{unit}" if unit and value is not None and math.isfinite(value) else number(value)


def seconds(value: float | None) -> str:
    """A time that something took."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 60:
        return f"{value:.1f}{THIN}s" if value < 10 else f"{value:.0f}{THIN}s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{THIN}h {minutes}{THIN}min" if hours else f"{minutes}{THIN}min {rest}{THIN}s"


def day(value: date | None) -> str:
    """5 March 2026."""
    return f"{value.day} {value:%B %Y}" if value else "–"


def short_day(value: date) -> str:
    """5 Mar."""
    return f"{value.day} {value:%b}"


def moment(value: datetime | None, zone: str = "UTC") -> str:
    """A time in a zone, with the zone's name."""
    if value is None:
        return "–"
    local = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %Y, %H:%M} {zone}"


def plural(many: int, one: str, more: str = "") -> str:
    """1 alarm, 2 alarms."""
    return f"{number(many)} {one if many == 1 else more or one + 's'}"


def part(name: str) -> str:
    """detectors.district=Nord -> district Nord."""
    column, equals, value = name.partition("=")
    return f"{title(column.rpartition('.')[2]).lower()} {value}" if equals else name.replace("_", " ")


def title(name: str) -> str:
    """city -> City; remaining_life -> Remaining life."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def rounded(value: float) -> float | int | None:
    """Four significant digits, for the page's data; None for what JSON does not know."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short
