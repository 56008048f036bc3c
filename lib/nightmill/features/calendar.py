"""The local time of each row: minute of the day and week, weekday, weekend, public holiday."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import holidays as public_holidays
from pyspark.sql import functions as F

from nightmill.config import Time
from nightmill.config.features import Calendar
from nightmill.features.inputs import micros

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Calendar, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the columns from `ts`, or the time so long after it, in the zone of the series."""
    time, ahead = inputs.time, micros(feature.ahead or timedelta(0))
    local = F.from_utc_timestamp(F.timestamp_micros(F.unix_micros("ts") + ahead), time.zone)
    columns = {}
    for name, kind in zip(feature.names, feature.of, strict=True):
        columns[name] = _column(kind, local) if kind != "holiday" else _is_holiday(local, time, rows)
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


def _is_holiday(local: Column, time: Time, rows: DataFrame) -> Column:
    return F.to_date(local).isin(_holidays(time, rows)).cast("int")


def _holidays(time: Time, rows: DataFrame) -> list:
    if time.holidays is None:
        return []
    span = rows.agg(F.min(F.year("day")), F.max(F.year("day"))).first()
    if span is None or span[0] is None:
        return []
    country, _, region = time.holidays.partition("-")
    known = public_holidays.country_holidays(country, subdiv=region or None, years=range(span[0], span[1] + 2))
    return sorted(known)
