"""The city's weather as pure functions of time: what drives river, energy, air, bikes and calls.

`now` is float64 minutes since 1970 in UTC everywhere.
"""

from __future__ import annotations

import math
from datetime import date, timedelta

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import iso, local_steps, minutes
from nightmill.simulate.drops import Drops

NAME, FILE = "city/weather", "weather.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(hours=1)


def temperature(now: Column, chance: Chance) -> Column:
    """°C: seasons around 10 °C with the coldest day on 20 January, warmest at 15 h local, fronts of about two days."""
    season = F.cos((now / 1440 - 20) * (2 * math.pi / 365.25)) * -9 + 10
    daily = F.cos((now - 840) * (2 * math.pi / 1440)) * 4
    fronts = chance.drift("temperature", now, 36 * 60) * 3.5 + chance.drift("temperature/hours", now, 180) * 0.6
    return season + daily + fronts


def rain(now: Column, chance: Chance, *where: Column) -> Column:
    """mm/h: about an eighth of the time, in spells of hours with showers that differ by catchment; 2-3 mm a day."""
    spell = F.greatest(chance.drift("rain", now, 540) - 1.2, F.lit(0.0))
    return spell * 1.5 * F.exp(chance.drift("rain/shower", now, 50, *where) * 0.7)


def wind(now: Column, chance: Chance) -> Column:
    """m/s, log-normal around 3."""
    return F.exp(chance.drift("wind", now, 720) * 0.5) * 3.0


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/weather/{day}/weather.csv`: station, ts (UTC, hourly), temperature °C, rain mm/h, wind m/s. No dirt."""
    now, of = minutes(F.col("ts")), (F.col("ts"), F.col("station"))

    def measured(name: str, value: Column, noise: float) -> Column:
        return F.round(value + chance.normal(f"weather/{name}", *of) * noise, 1).alias(name)

    rows = (
        spark.range(count)
        .select(F.format_string("weather-%02d", "id").alias("station"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .select(
            "station",
            "ts",
            iso(F.col("ts")).alias("time"),
            F.col("day").alias("drop"),
            measured("temperature", temperature(now, chance), 0.2),
            measured("rain", rain(now, chance), 0.0),
            F.abs(measured("wind", wind(now, chance), 0.3)).alias("wind"),
        )
    )
    columns = ("temperature", "rain", "wind")
    return Drops(NAME, FILE, rows, ("station", "time", *columns), ("ts", "station"), header=("station", "ts", *columns))
