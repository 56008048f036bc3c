"""Sound level meters at roads, every quarter of an hour.

The generating process, level in dB(A) at station s and step t:

    L(s, t) = M(s, t) + E(s, t)
    M = 10 lg(10^(traffic / 10) + 10^(background / 10))      two sources add their energies
    traffic = 57 + own(s) + 10 lg(0.04 + demand(road(s), t)) + 2 while it rains
    background = 42 + own(s)
    E(s, t) = sum over j = 0 … 11 of 0.8^j e(s, t - j),      e independent normal, deviation 0.6 dB

M is known to who knows the traffic and the weather. E is an autoregression cut off after twelve terms, so that each
step can be computed alone, and its best forecast h steps ahead is known: the terms j >= h, whose innovations have
happened. That is the oracle, and `oracle_rmse` its error; nobody who knows no future innovations can do better.
10 lg of the flow is the law of RLS-90 (German guidelines for noise at roads, 1990).
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt, traffic, weather
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import iso, local_clock, local_steps, minutes
from nightmill.simulate.drops import Drops
from nightmill.simulate.episodes import Steps

NAME, FILE = "city/noise", "noise.csv.gz"
ZONE = "Europe/Berlin"
EVERY = timedelta(minutes=15)
MEMORY, DECAY, INNOVATION = 12, 0.8, 0.6
"""Terms of E, weight of each against the one before, deviation of an innovation in dB."""


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/noise/{day}/noise.csv.gz`: station, ts (UTC), vehicles (in the quarter of an hour), level (dB(A))."""
    level, steps = F.col("level"), Steps(EVERY, ZONE)
    frozen = F.format_string("%.1f", chance.between(45, 60, "noise/stuck", F.col("station"), steps.watch()))
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "out_of_range": {"level": F.lit("0.0")},
        "not_a_number": {"level": F.lit("overload")},
        "missing_step": {},
        "late": {},
        "stuck": {"level": frozen},
        "spike": {"level": F.format_string("%.1f", level.cast("double") + 42)},
    }
    clean = levels(spark, first - timedelta(days=1), days + 1, count, chance)
    clean = clean.withColumns({"level": F.format_string("%.1f", level), "time": iso(F.col("ts"))})
    soil = dirt.Soil(NAME, FILE, "station", kinds, count * 96, steps)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns, header = ("station", "time", "vehicles", "level"), ("station", "ts", "vehicles", "level")
    damage = ("unreadable_file",)
    return Drops(NAME, FILE, records, columns, ("ts", "station", "level"), truth, header, damage=damage)


def levels(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """station, ts (UTC timestamp), day, vehicles (int64) and level (dB(A), one decimal), without dirt."""
    level = F.round(F.col("mean") + _error(chance, 0), 1)
    vehicles = chance.count(F.col("demand") * 300 + 12, "noise/vehicles", F.col("ts"), F.col("station"))
    return _means(spark, first, days, count, chance).select(
        "station", "ts", "day", vehicles.alias("vehicles"), level.alias("level")
    )


def oracle(spark: SparkSession, first: date, days: int, count: int, chance: Chance, horizon: int) -> DataFrame:
    """station, target_ts and value (dB(A)): the best forecast made `horizon` steps earlier; see the module."""
    value = (F.col("mean") + _error(chance, horizon)).alias("value")
    return _means(spark, first, days, count, chance).select("station", F.col("ts").alias("target_ts"), value)


def oracle_rmse(horizon: int) -> float:
    """Root mean squared error of `oracle` in dB, rounding of the readings included."""
    unseen = sum(DECAY ** (2 * j) for j in range(min(horizon, MEMORY)))
    return float((INNOVATION**2 * unseen + 0.1**2 / 12) ** 0.5)


def _means(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    number, station, now = F.col("id"), F.col("station"), minutes(F.col("ts"))
    local_day, minute = local_clock(F.col("ts"), ZONE)
    own = chance.normal("noise/own", station) * 2
    wet = F.when(weather.rain(now, chance) > 0.1, 2.0).otherwise(0.0)
    road = F.log10(F.col("demand") + 0.04) * 10 + own + wet + 57
    mean = F.log10(F.pow(F.lit(10.0), road / 10) + F.pow(F.lit(10.0), (own + 42) / 10)) * 10
    return (
        spark.range(count)
        .select(number.alias("road"), F.format_string("noise-%03d", number).alias("station"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .withColumns({"local_day": local_day, "local_minute": minute})
        .withColumn("demand", traffic.demand(chance))
        .withColumn("mean", mean)
    )


def _error(chance: Chance, first: int) -> Column:
    """The terms of E from j = `first` on."""
    step = (F.unix_seconds("ts") / int(EVERY.total_seconds())).cast("long")
    terms = [
        chance.normal("noise/e", step - F.lit(j).cast("long"), F.col("station")) * (DECAY**j * INNOVATION)
        for j in range(first, MEMORY)
    ]
    return sum(terms, F.lit(0.0))
