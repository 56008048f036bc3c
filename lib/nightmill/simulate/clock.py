"""Local days and the steps in them. A local day has 23, 24 or 25 hours."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F


def local_steps(spark: SparkSession, first: date, days: int, every: timedelta, zone: str) -> DataFrame:
    """`day` (local date) and `ts` (UTC timestamp) of every step of the local days from `first` on."""
    day = F.date_add(F.lit(first), F.col("id").cast("int"))
    begin, end = _midnight(F.col("day"), zone), _midnight(F.date_add("day", 1), zone)
    steps = F.sequence(begin, end - F.expr(_interval(every)), F.expr(_interval(every)))
    return spark.range(days).select(day.alias("day")).select("day", F.explode(steps).alias("ts"))


def minutes(ts: Column) -> Column:
    """float64 minutes since 1970 of a UTC timestamp."""
    return F.unix_seconds(ts) / 60.0


def zone_offset(ts: Column, zone: str) -> Column:
    """float64 minutes that local clocks in `zone` are ahead of UTC at a UTC timestamp."""
    return minutes(F.from_utc_timestamp(ts, zone)) - minutes(ts)


def weekend(local_day: Column) -> Column:
    """Whether a local day, counted from 1970-01-01 (a Thursday), is a Saturday or Sunday."""
    return (local_day + 3) % 7 >= 5


def _midnight(day: Column, zone: str) -> Column:
    return F.to_utc_timestamp(day.cast("timestamp"), zone)


def _interval(step: timedelta) -> str:
    return f"make_dt_interval(0, 0, 0, {int(step.total_seconds())})"
