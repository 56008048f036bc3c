"""Bikes hired per station and hour, csv with the time in two columns; casual and registered riders add up to the total.

Counts are Poisson around a mean that is known from calendar and weather: commuters in rush hours of working days,
casual riders on warm afternoons of days off, few of both in rain.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt, weather
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import day_off, local_clock, local_steps, minutes, peak
from nightmill.simulate.drops import Drops

NAME, FILE = "city/bikes", "bikes.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(hours=1)
COLUMNS = ("station", "date", "hour", "temperature", "casual", "registered", "total")


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/bikes/{day}/bikes.csv`: COLUMNS; date and hour are local."""
    more = {name: dirt.plus(name, 5) for name in ("registered", "total")}
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "superseded": more,
        "out_of_range": {"casual": F.lit("-1"), "total": (F.col("registered").cast("long") - 1).cast("string")},
        "not_a_number": {"total": F.lit("n/a")},
        "missing_value": {"total": F.lit(None).cast("string")},
        "missing_step": {},
        "late": {},
        "bad_time": {"date": F.lit("0000-00-00")},
        "broken_relation": {"total": dirt.plus("total", 11)},
    }
    clean = hires(spark, first - timedelta(days=1), days + 1, count, chance)
    local = F.from_utc_timestamp("ts", ZONE)
    texts = {name: F.col(name).cast("string") for name in ("casual", "registered", "total")}
    clean = clean.withColumns({**texts, "date": F.date_format(local, "yyyy-MM-dd"), "hour": F.hour(local)})
    soil = dirt.Soil(NAME, FILE, "station", kinds, count * 24)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    order, damage = ("ts", "station", "total"), ("renamed_column",)
    return Drops(NAME, FILE, records, COLUMNS, order, truth, damage=damage)


def hires(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """station, ts (UTC timestamp), day, temperature (°C), casual, registered, total (int64), without dirt."""
    of = (F.col("ts"), F.col("station"))
    return (
        means(spark, first, days, count, chance)
        .withColumn("casual", chance.count(F.col("mean_casual"), "bikes/casual", *of))
        .withColumn("registered", chance.count(F.col("mean_registered"), "bikes/registered", *of))
        .select(
            "station",
            "ts",
            "day",
            F.round("temperature", 1).alias("temperature"),
            "casual",
            "registered",
            (F.col("casual") + F.col("registered")).alias("total"),
        )
    )


def means(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """station, ts, day, temperature, mean_casual, mean_registered: the oracle, best by squared error."""
    now, size = minutes(F.col("ts")), chance.between(3, 20, "bikes/size", F.col("station"))
    day, minute = local_clock(F.col("ts"), ZONE)
    off = day_off(day)
    pleasant = F.greatest(F.least((F.col("temperature") + 5) / 25, F.lit(1.2)), F.lit(0.1))
    dry = F.lit(1.0) - F.least(weather.rain(now, chance), F.lit(1.0)) * 0.7
    commute = peak(minute, 480, 60) + peak(minute, 1050, 80) * 1.1 + peak(minute, 780, 200) * 0.3
    leisure = peak(minute, 870, 180)
    registered = F.when(off, leisure * 0.5).otherwise(commute) + 0.03
    casual = leisure * F.when(off, 0.8).otherwise(0.2) + 0.01
    return (
        spark.range(count)
        .select(F.format_string("bike-%03d", "id").alias("station"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .withColumn("temperature", weather.temperature(now, chance))
        .select(
            "station",
            "ts",
            "day",
            "temperature",
            (size * casual * pleasant * dry).alias("mean_casual"),
            (size * registered * pleasant * dry).alias("mean_registered"),
        )
    )
