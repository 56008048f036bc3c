"""The local time of each row: minute of the day and week, weekday, weekend, public holiday."""

from __future__ import annotations

from typing import TYPE_CHECKING

import holidays as public_holidays
from pyspark.sql import functions as F

from nightmill.config import Time
from nightmill.config.features import Calendar

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Calendar, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the columns from `ts` in the zone of the series."""
    time = inputs.time
    return rows.withColumns({name: _column(name, time, rows) for name in feature.of})


def _column(name: str, time: Time, rows: DataFrame) -> Column:
    local = F.from_utc_timestamp("ts", time.zone)
    minute, weekday = F.hour(local) * 60 + F.minute(local), F.weekday(local)
    if name == "minute_of_day":
        return minute
    if name == "weekday":
        return weekday
    if name == "minute_of_week":
        return weekday * 1440 + minute
    if name == "weekend":
        return (weekday >= 5).cast("int")
    return F.col("day").isin(_holidays(time, rows)).cast("int")


def _holidays(time: Time, rows: DataFrame) -> list:
    if time.holidays is None:
        return []
    span = rows.agg(F.min(F.year("day")), F.max(F.year("day"))).first()
    if span is None or span[0] is None:
        return []
    country, _, region = time.holidays.partition("-")
    known = public_holidays.country_holidays(country, subdiv=region or None, years=range(span[0], span[1] + 1))
    return sorted(known)
