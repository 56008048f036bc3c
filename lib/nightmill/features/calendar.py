"""The local time of each row: minute of the day and week, weekday, weekend, public holiday."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.config.features import Calendar
from nightmill.features.inputs import micros

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Calendar, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the columns from `ts`, or the time so long after it, in the zone of the series."""
    ahead = micros(feature.ahead or timedelta(0))
    local = F.from_utc_timestamp(F.timestamp_micros(F.unix_micros("ts") + ahead), inputs.time.zone)
    columns = {}
    for name, kind in zip(feature.names, feature.of, strict=True):
        columns[name] = _column(kind, local) if kind != "holiday" else is_holiday(local, inputs).cast("int")
    return rows.withColumns(columns)


def _column(kind: str, local: Column) -> Column:
    minute, weekday = F.hour(local) * 60 + F.minute(local), F.weekday(local)
    if kind == "minute_of_day":
        return minute
    if kind == "weekday":
        return weekday
    if kind == "minute_of_week":
        return weekday * 1440 + minute
    return (weekday >= 5).cast("int")


def is_holiday(local: Column, inputs: Inputs) -> Column:
    """Whether local times, of the series' years or the one after, are on one of its public holidays."""
    return F.to_date(local).isin(inputs.holidays)
