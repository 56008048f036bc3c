"""Numbers, times and names as people read them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

THIN = "\u202f"
"""A narrow space that does not break: between thousands, and before units."""


def number(value: float | int | None, digits: int = 3) -> str:
    """Three significant digits, whole numbers in full, thousands apart; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}".replace(",", THIN).replace("-", "−")
    text = f"{value:.{digits}g}"
    if "e" in text:
        text = f"{value:.{digits}f}" if abs(value) < 1e-4 and abs(value) > 10**-digits else text
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
