"""Local days and the steps in them. A local day has 23, 24 or 25 hours."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F


def local_steps(spark: SparkSession, first: date, days: int, every: timedelta, zone: str) -> DataFrame:
    """`day` (local date) and `ts` (UTC timestamp) of every step of the local days from `first` on."""
    day = F.date_add(F.lit(first), F.col("id").cast("int"))
    begin, end = midnight(F.col("day"), zone), midnight(F.date_add("day", 1), zone)
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


def day_off(local_day: Column) -> Column:
    """Whether a local day, counted from 1970-01-01, is a Saturday, a Sunday or a German holiday of 2010 to 2039."""
    return weekend(local_day) | F.array_contains(F.expr(_holidays()), local_day)


@cache
def _holidays() -> str:
    from holidays import country_holidays

    days = sorted(country_holidays("DE", years=range(2010, 2040)))
    return f"array({', '.join(f'{day.toordinal() - date(1970, 1, 1).toordinal()}L' for day in days)})"


def local_clock(ts: Column, zone: str) -> tuple[Column, Column]:
    """Local day (int64, counted from 1970-01-01) and minute of the day (float64) of a UTC timestamp."""
    local = minutes(ts) + zone_offset(ts, zone)
    day = F.floor(local / 1440).cast("long")
    return day, local - day * 1440


def peak(value: Column, at: float, width: float) -> Column:
    """A bell of height 1 around `at`: exp(-((value - at) / width)² / 2)."""
    return F.exp(-F.pow((value - at) / width, 2) / 2)


def midnight(day: Column, zone: str) -> Column:
    """UTC timestamp at which a local day begins."""
    return F.to_utc_timestamp(day.cast("timestamp"), zone)


def _interval(step: timedelta) -> str:
    return f"make_dt_interval(0, 0, 0, {int(step.total_seconds())})"


def iso(ts: Column) -> Column:
    """A UTC timestamp as ISO 8601 text with Z."""
    return F.date_format(ts, "yyyy-MM-dd'T'HH:mm:ss'Z'")


def years_later(ts: Column, years: int = 9) -> Column:
    """The same moment as a clock shows it that is years ahead."""
    return ts + F.make_interval(years=F.lit(years))
