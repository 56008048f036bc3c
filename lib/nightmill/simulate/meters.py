"""Energy meters of a plant, quarter-hours: a counter of kWh that only ever grows.

The counter is a closed form of time, so no past is needed: a base load, a load of the two shifts on weekdays, and a
smooth deviation whose slope stays below the base load. Consumption of a step is the difference of two readings.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import iso, local_clock, local_steps, minutes, years_later
from nightmill.simulate.drops import Drops
from nightmill.simulate.episodes import Steps

NAME, FILE = "factory/energy", "energy.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(minutes=15)
_BEGIN = 18_262  # 2020-01-01: far enough back that a new meter starts near 0
_SHIFTS = 16.0
"""Hours of a weekday in which people work, from 6 h on."""


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`factory/energy/{day}/energy.csv`: meter, ts (UTC), kwh (counter)."""
    back = F.col("kwh").cast("double") - chance.between(300, 900, "meters/back", F.col("ts"), F.col("meter"))
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "not_a_number": {"kwh": F.lit("E04")},
        "missing_value": {"kwh": F.lit(None).cast("string")},
        "missing_step": {},
        "late": {},
        "malformed": {},
        "bad_code": {"meter": F.translate("meter", "-", "/")},
        "bad_time": {"time": F.lit("--:--")},
        "future_time": {"time": iso(years_later(F.col("ts")))},
        "counter_back": {"kwh": F.format_string("%.1f", back)},
    }
    clean = counters(spark, first - timedelta(days=1), days + 1, count, chance)
    clean = clean.withColumns({"kwh": F.format_string("%.1f", "kwh"), "time": iso(F.col("ts"))})
    soil = dirt.Soil(NAME, FILE, "meter", kinds, count * 96, Steps(EVERY, ZONE))
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns, header = ("meter", "time", "kwh"), ("meter", "ts", "kwh")
    return Drops(NAME, FILE, records, columns, ("ts", "meter", "kwh"), truth, header, damage=("same_file_again",))


def counters(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """meter, ts (UTC timestamp), day, kwh (one decimal), without dirt."""
    meter, now = F.col("meter"), minutes(F.col("ts"))
    day, minute = local_clock(F.col("ts"), ZONE)
    size = chance.between(0.4, 2.0, "meters/size", meter)
    at_work = chance.between(40, 120, "meters/work", meter)
    wander = chance.bounded_drift("meters/wander", now, 1440, meter) * 100
    kwh = size * ((now / 60 - _BEGIN * 24) * 20 + _worked(day, minute / 60) * at_work + wander + 2000)
    return (
        spark.range(count)
        .select(F.format_string("M-%03d", "id").alias("meter"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .select("meter", "ts", "day", F.round(kwh, 1).alias("kwh"))
    )


def _worked(day: Column, hour: Column) -> Column:
    """Hours of shifts since the Monday before 2020, up to a local day (int64 since 1970) and hour."""
    since = day - F.lit(_BEGIN - 2)
    weekday = since % 7
    today = F.when(weekday < 5, F.least(F.greatest(hour - 6, F.lit(0.0)), F.lit(_SHIFTS))).otherwise(0.0)
    return (F.floor(since / 7) * 5 + F.least(weekday, F.lit(5))) * _SHIFTS + today
