"""How a data set's last drops were: late, short, refused. Told by ops alone: no table is read."""

from __future__ import annotations

from datetime import date, timedelta
from statistics import median

from nightmill.config import DataSet
from nightmill.config.values import DATA
from nightmill.lake.ops import fates_by_day, last_records
from nightmill.lake.quarantine import held_days
from nightmill.lake.tables import Lake
from nightmill.monitor.alarms import Figure

BEFORE = timedelta(days=14)
"""How far back days count as usual."""


def watch_data(lake: Lake, data_set: DataSet, night: date) -> list[Figure]:
    """What is to be said of a data set after the night of a day; empty where nothing of it has ever been clean."""
    subject, limits = f"{DATA}{data_set.name}", data_set.monitor
    fates = fates_by_day(last_records(lake, subject))
    days = sorted(day for day in fates if day <= night)
    found: list[Figure] = []
    if data_set.source.by_day and days and not data_set.source.may_be_empty:  # of these the night says what is missing
        age = night - days[-1]
        what = f"its last day is {days[-1]}"
        found.append(Figure(subject, "late", "", age / timedelta(days=1), limits.late / timedelta(days=1) - 1e-9, what))
        usual = [fates[day].get("accepted", 0) for day in days if night - BEFORE <= day < night]
        if usual and night in fates:
            now, before = fates[night].get("accepted", 0), median(usual)
            share = 1 - now / before if before else 0.0
            what = f"{now:,} records of {night}, where the days before have {before:,.0f}"
            found.append(Figure(subject, "incomplete", "", share, 1 - limits.complete, what))
    if night in fates:
        parsed, refused = (fates[night].get(fate, 0) for fate in ("parsed", "refused"))
        what = f"{refused:,} of {parsed:,} records of {night} are refused"
        found.append(Figure(subject, "refused", "", refused / parsed if parsed else 0.0, limits.refused, what))
    files = held_days(lake, data_set.name).get(night, [])
    first = f": {files[0][0]}: {files[0][1]}" if files else ""
    many = "1 file" if len(files) == 1 else f"{len(files)} files"
    found.append(Figure(subject, "unreadable", "", len(files), 0.5, f"refused whole, {many} of {night}{first}"))
    return found
