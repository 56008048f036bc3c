"""Emergency calls: events with a time and a place, JSON lines. The caller's number is personal.

Calls are an inhomogeneous Poisson process: the expected number of a day is spread over its minutes by `intensity`
(afternoon and evening, weekend nights, rain), and over the map as a mixture of four quarters and the whole city. Each
of two candidates per expected call stands with the probability intensity / 2 (thinning, Lewis and Shedler 1979), so the
expected count of any hour and cell is known.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt, weather
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import day_off, iso, local_clock, midnight, minutes, peak, years_later
from nightmill.simulate.drops import Drops

NAME, FILE = "city/calls", "calls.json"
ZONE = "Europe/Berlin"
KINDS = ("medical", "fire", "traffic", "police")
QUARTERS = ((13.30, 52.48, 0.30), (13.42, 52.54, 0.25), (13.48, 52.46, 0.15), (13.35, 52.57, 0.10))
"""Longitude, latitude and share of calls; the other fifth comes from anywhere in WEST … EAST, SOUTH … NORTH."""
WEST, EAST, SOUTH, NORTH = 13.2, 13.6, 52.4, 52.6
_CANDIDATES = 2
COLUMNS = ("call", "time", "longitude", "latitude", "type", "priority", "phone")


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/calls/{day}/calls.json`: COLUMNS; time in UTC, priority 1 (highest) to 3; about `count` calls a day."""
    kinds: dict[str, dict[str, Column]] = {
        "out_of_range": {"longitude": F.lit(0.0)},
        "missing_value": {"latitude": F.lit(None).cast("double")},
        "late": {},
        "malformed": {},
        "bad_code": {"call": F.regexp_replace("call", "^C-", "#")},
        "bad_category": {"type": F.lit("???")},
        "bad_time": {"time": F.lit("--:--")},
        "future_time": {"time": iso(years_later(F.col("ts")))},
    }
    clean = calls(spark, first - timedelta(days=1), days + 1, count, chance).withColumn("time", iso(F.col("ts")))
    soil = dirt.Soil(NAME, FILE, "call", kinds, count)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    return Drops(NAME, FILE, records, COLUMNS, ("ts", "call"), truth, damage=("same_file_again",))


def calls(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """call, ts (UTC timestamp, whole seconds), day, longitude, latitude, type, priority (int64), phone, no dirt."""
    candidates, of = count * _CANDIDATES, F.col("candidate")
    begin, end = (F.unix_seconds(midnight(d, ZONE)) for d in (F.col("day"), F.date_add("day", 1)))
    now = minutes(F.col("ts"))
    number = F.concat(F.lit("+49 30 "), F.floor(chance.between(1e6, 9e6, "calls/phone", of)).cast("string"))
    pick = chance.uniform("calls/type", of)
    kind = F.when(pick < 0.6, "medical").when(pick < 0.7, "fire").when(pick < 0.85, "traffic").otherwise("police")
    return (
        spark.range(days)
        .select(F.date_add(F.lit(first), F.col("id").cast("int")).alias("day"))
        .withColumn("n", F.explode(F.sequence(*(F.lit(n).cast("long") for n in (0, candidates - 1)))))
        .withColumn("candidate", F.unix_date("day").cast("long") * 1_000_000 + F.col("n"))
        .withColumn("ts", F.timestamp_seconds(begin + F.floor(chance.uniform("calls/time", of) * (end - begin))))
        .where(chance.uniform("calls/keep", of) * _CANDIDATES < intensity(F.col("ts"), weather.rain(now, chance)))
        .select(
            F.format_string("C-%s-%06d", F.date_format("day", "yyyyMMdd"), "n").alias("call"),
            "ts",
            "day",
            *_place(chance, of),
            kind.alias("type"),
            (F.floor(chance.uniform("calls/priority", of) * 3) + 1).cast("long").alias("priority"),
            number.alias("phone"),
        )
    )


def intensity(ts: Column, rain: Column) -> Column:
    """Calls against the mean of the day and the whole year, 0.3 to 2 (where it is cut)."""
    day, minute = local_clock(ts, ZONE)
    night = F.when(day_off(day), 0.6).otherwise(0.0) * peak(minute, 60, 120)
    daily = peak(minute, 1020, 240) * 1.1 + peak(minute, 600, 120) * 0.4 + night + 0.4
    return F.least(daily * (F.least(rain, F.lit(3.0)) * 0.25 + 1), F.lit(float(_CANDIDATES)))


def _place(chance: Chance, of: Column) -> list[Column]:
    pick, east, north = chance.uniform("calls/quarter", of), None, None
    x, y = chance.normal("calls/x", of) * 0.012, chance.normal("calls/y", of) * 0.008
    longitude = chance.between(WEST, EAST, "calls/longitude", of)
    latitude, upper = chance.between(SOUTH, NORTH, "calls/latitude", of), 0.0
    for east, north, share in QUARTERS:
        lower, upper = upper, upper + share
        here = (pick >= lower) & (pick < upper)
        longitude = F.when(here, x + east).otherwise(longitude)
        latitude = F.when(here, y + north).otherwise(latitude)
    inside = (
        F.least(F.greatest(longitude, F.lit(WEST)), F.lit(EAST)),
        F.least(F.greatest(latitude, F.lit(SOUTH)), F.lit(NORTH)),
    )
    return [F.round(c, 5).alias(name) for c, name in zip(inside, ("longitude", "latitude"), strict=True)]
