"""Street lights: an hourly report per lamp with a counter of burning hours, and the table of lamps.

A lamp burns 12 + 4.2 cos hours a night around midnight, longest on 21 December. Its counter is the sum over all nights
in closed form, so no past is needed. Lamps dim from 23 h to 5 h; one in twelve lamps a month is at fault for some days.
"""

from __future__ import annotations

import math
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import iso, local_steps, minutes, years_later
from nightmill.simulate.drops import Drops, Master
from nightmill.simulate.episodes import Steps

NAME, FILE = "city/lights", "lights.csv"
LAMPS, LAMPS_FILE = "city/lamps", "lamps.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(hours=1)
STATES = ("off", "on", "dimmed", "fault")
FAULTY = 0.08
"""Share of a lamp's months with a fault of one to six days."""
_NOON = 11 * 60.0
"""UTC minute of the day from which nights are counted."""
_TURN, _LONGEST, _SWING = 2 * math.pi / 365.25, 355, 4.2
_MONTH = 30 * 1440
_BEGIN = 14_610.0  # 2010-01-01, so that counters look like those of lamps


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/lights/{day}/lights.csv`: lamp, ts (UTC), state (of STATES), power (W), hours (burnt so far)."""
    back = F.col("hours").cast("double") - chance.between(5, 60, "lights/back", F.col("ts"), F.col("lamp"))
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "missing_step": {},
        "late": {},
        "unknown_entity": {"lamp": F.concat(F.lit("x"), F.col("lamp"))},
        "bad_category": {"state": F.lit("error 0x1F")},
        "malformed": {},
        "future_time": {"time": iso(years_later(F.col("ts")))},
        "counter_back": {"hours": F.format_string("%.1f", back)},
    }
    clean = reports(spark, first - timedelta(days=1), days + 1, count, chance)
    clean = clean.withColumns({"hours": F.format_string("%.1f", "hours"), "time": iso(F.col("ts"))})
    soil = dirt.Soil(NAME, FILE, "lamp", kinds, count * 24, Steps(EVERY, ZONE))
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns, header = ("lamp", "time", "state", "power", "hours"), ("lamp", "ts", "state", "power", "hours")
    return Drops(NAME, FILE, records, columns, ("ts", "lamp", "hours"), truth, header)


def lamps(spark: SparkSession, count: int, chance: Chance) -> Master:
    """`city/lamps/lamps.csv`: lamp, longitude, latitude, watts (rated)."""
    number = F.col("id")
    return Master(
        LAMPS,
        LAMPS_FILE,
        spark.range(count).select(
            _name(number).alias("lamp"),
            F.round(chance.between(13.2, 13.6, "lamps/longitude", number), 5).alias("longitude"),
            F.round(chance.between(52.4, 52.6, "lamps/latitude", number), 5).alias("latitude"),
            _watts(chance, number).alias("watts"),
        ),
    )


def reports(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """lamp, ts (UTC timestamp), day, state, power (W, int64), hours (one decimal), without dirt."""
    number, now = F.col("id"), minutes(F.col("ts"))
    night, burnt, burning = _burnt(now)
    month = F.floor(now / _MONTH).cast("long")
    start = month * _MONTH + chance.between(0, 24 * 1440, "lights/fault/start", number, month)
    end = start + chance.between(1440, 6 * 1440, "lights/fault/length", number, month)
    faulty = (chance.uniform("lights/fault", number, month) < FAULTY) & now.between(start, end)
    dimmed = (now - _NOON - night * 1440).between(11 * 60, 17 * 60)
    state = F.when(~burning, "off").when(faulty, "fault").when(dimmed, "dimmed").otherwise("on")
    share = F.when(state == "on", 1.0).when(state == "dimmed", 0.5).otherwise(0.0)
    wobble = chance.normal("lights/power", F.col("ts"), number) * 0.01 + 1
    hours = chance.between(2_000, 30_000, "lights/hours", number) + burnt - _BEGIN * 12
    return (
        spark.range(count)
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .select(
            _name(number).alias("lamp"),
            "ts",
            "day",
            state.alias("state"),
            F.round(_watts(chance, number) * share * wobble).cast("long").alias("power"),
            F.round(hours, 1).alias("hours"),
        )
    )


def _burnt(now: Column) -> tuple[Column, Column, Column]:
    """Number of the night (counted noon to noon from 1970), hours burnt since then, and whether lamps burn now."""
    night = F.floor((now - _NOON) / 1440).cast("double")
    # sum of cos(a k + b) for k < n in closed form
    former = F.sin(night * (_TURN / 2)) * F.cos((night - 1) * (_TURN / 2) - _TURN * _LONGEST) / math.sin(_TURN / 2)
    length = F.cos((night - _LONGEST) * _TURN) * _SWING + 12
    tonight = (now - _NOON - night * 1440) / 60 - (F.lit(12.0) - length / 2)
    burnt = F.least(F.greatest(tonight, F.lit(0.0)), length)
    return night, night * 12 + former * _SWING + burnt, (tonight > 0) & (tonight < length)


def _watts(chance: Chance, number: Column) -> Column:
    pick = (F.floor(chance.uniform("lamps/watts", number) * 4) + 1).cast("int")
    return F.element_at(F.array(*map(F.lit, (40, 60, 90, 150))), pick)


def _name(number: Column) -> Column:
    return F.format_string("lamp-%05d", number)
