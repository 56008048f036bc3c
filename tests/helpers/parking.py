"""A csv file of car parks, as a city's office writes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")


def written(path: Path, separator: str = ";", encoding: str = "utf-8") -> Path:
    """Hourly places of three car parks in local time, over the night that clocks go forward, with a meter."""
    begin = datetime(2026, 3, 27, 23, tzinfo=UTC)
    lines = [separator.join(["Zeit", "Parkhaus", "frei", "Temperatur [°C]", "gezählt", "Zustand"])]
    for hour in range(72):
        local = (begin + timedelta(hours=hour)).astimezone(BERLIN)
        for number, place in enumerate(("Bahnhof", "Markt", "Nord")):
            free = "NA" if (hour, number) == (5, 1) else str((hour * 37 + number * 11) % 240)
            state = "offen" if hour % 24 > 5 else "zu"
            cells = [f"{local:%d.%m.%Y %H:%M}", place, free, f"{8 + (hour * 7 + number) % 40 / 10}"]
            lines.append(separator.join([*cells, str(1000 + hour * 13 + hour * hour % 11 + number), state]))
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path
