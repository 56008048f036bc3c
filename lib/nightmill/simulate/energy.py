"""Electric load of the city's districts, quarter-hours, as a network operator exports it: `;`, local end times.

Load is a daily profile by kind of day, plus heating below 15 °C and cooling above 22 °C, each district its own share,
times a slow and a fast deviation of about 2 %: who knows the temperature and the calendar is right within 3 %.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt, weather
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import day_off, local_clock, local_steps, minutes, peak
from nightmill.simulate.drops import Drops
from nightmill.simulate.episodes import Steps

NAME, FILE = "city/energy", "energy.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(minutes=15)
LOCAL_TIME = "dd.MM.yyyy HH:mm"


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/energy/{day}/energy.csv`: district; end (local, of the quarter-hour); temperature (°C); load (MW)."""
    load = F.col("load").cast("double")
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "superseded": {"load": _text(load * 0.93)},
        "out_of_range": {"load": F.lit("9999.00")},
        "not_a_number": {"load": F.lit("n.v.")},
        "missing_value": {"load": F.lit(None).cast("string")},
        "missing_step": {},
        "late": {},
        "bad_time": {"end": F.lit("--.--.----")},
        "spike": {"load": _text(load + 250)},
    }
    clean = loads(spark, first - timedelta(days=1), days + 1, count, chance)
    end = F.date_format(F.from_utc_timestamp(F.col("ts") + F.make_dt_interval(mins=F.lit(15)), ZONE), LOCAL_TIME)
    clean = clean.withColumns({"load": _text(load), "end": end})
    soil = dirt.Soil(NAME, FILE, "district", kinds, count * 96, Steps(EVERY, ZONE))
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns, damage = ("district", "end", "temperature", "load"), ("renamed_column",)
    return Drops(NAME, FILE, records, columns, ("ts", "district", "load"), truth, separator=";", damage=damage)


def loads(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """district, ts (UTC timestamp, begin of the step), day, temperature (°C), load (MW, two decimals), without dirt."""
    district, now = F.col("district"), minutes(F.col("ts"))
    day, minute = local_clock(F.col("ts"), ZONE)
    homes = chance.between(0.2, 0.8, "energy/homes", district)
    size = chance.between(25, 70, "energy/size", district)
    warmth = F.col("temperature")
    heating = F.greatest(F.lit(15.0) - warmth, F.lit(0.0)) * 0.012 * homes
    cooling = F.greatest(warmth - 22, F.lit(0.0)) * 0.03
    slow = chance.drift("energy/slow", now, 1440, district) * 0.015
    fast = chance.normal("energy/fast", F.col("ts"), district) * 0.01
    load = size * (profile(day, minute, homes) + heating + cooling) * (slow + fast + 1)
    return (
        spark.range(count)
        .select(F.format_string("district-%02d", "id").alias("district"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .withColumn("temperature", F.round(weather.temperature(now, chance), 1))
        .select("district", "ts", "day", "temperature", F.round(load, 2).alias("load"))
    )


def profile(day: Column, minute: Column, homes: Column) -> Column:
    """Share of a district's size, about 0.5 at night to 1.2: homes peak in the evening, offices on working days."""
    offices = F.when(day_off(day), 0.15).otherwise(1.0) * peak(minute, 750, 210) * 0.6
    at_home = peak(minute, 1140, 120) * 0.55 + peak(minute, 480, 90) * 0.2 + peak(minute, 750, 120) * 0.2
    return (F.lit(1.0) - homes) * offices + homes * at_home + 0.5


def _text(load: Column) -> Column:
    return F.format_string("%.2f", load)
