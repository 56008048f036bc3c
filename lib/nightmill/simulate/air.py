"""Air quality stations, hourly: JSON lines with a nested location.

Nitrogen dioxide follows the traffic of the station's road, particles the heating; both are thinned by wind, particles
washed out by rain too. Ozone follows warmth and is eaten by nitrogen dioxide.
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

NAME, FILE = "city/air", "air.json"
ZONE = "Europe/Berlin"
EVERY = timedelta(hours=1)
COLUMNS = ("station", "ts", "location", "no2", "pm10", "o3")


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/air/{day}/air.json`: station, ts (UTC), location {longitude, latitude}, no2, pm10, o3 (µg/m³)."""
    no2, steps = F.col("no2"), Steps(EVERY, ZONE, stuck=8)
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "superseded": {"no2": F.round(no2 * 0.7 + 1, 1)},
        "out_of_range": {"no2": F.lit(9999.0)},
        "missing_value": {"no2": F.lit(None).cast("double")},
        "missing_step": {},
        "late": {},
        "malformed": {},
        "bad_code": {"station": F.upper(F.translate("station", "-", " "))},
        "stuck": {"no2": F.round(chance.between(15, 35, "air/stuck", F.col("station"), steps.watch()), 1)},
    }
    clean = concentrations(spark, first - timedelta(days=1), days + 1, count, chance).withColumn(
        "time", iso(F.col("ts"))
    )
    soil = dirt.Soil(NAME, FILE, "station", kinds, count * 24, steps)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns = ("station", "time", *COLUMNS[2:])
    return Drops(NAME, FILE, records, columns, ("ts", "station", "no2"), truth, COLUMNS)


def concentrations(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """station, ts (UTC timestamp), day, location, no2, pm10, o3 (µg/m³, one decimal), without dirt."""
    number, station, now = F.col("id"), F.col("station"), minutes(F.col("ts"))
    local_day, minute = local_clock(F.col("ts"), ZONE)
    own = chance.between(0.8, 1.2, "air/own", station)
    thinned = F.sqrt(F.lit(3.0) / F.col("wind"))
    warmth = F.col("temperature")
    washed = F.lit(1.0) - F.least(weather.rain(now, chance) / 2, F.lit(1.0)) * 0.5
    location = F.struct(
        F.round(chance.between(13.2, 13.6, "air/longitude", number), 5).alias("longitude"),
        F.round(chance.between(52.4, 52.6, "air/latitude", number), 5).alias("latitude"),
    )

    def measured(name: str, value: Column, noise: float) -> Column:
        error = chance.normal(f"air/{name}", F.col("ts"), station) * noise
        return F.round(F.greatest(value + error, F.lit(0.1)), 1)

    no2 = (F.lit(9.0) + F.col("demand") * 34) * own * thinned
    heating = F.greatest(F.lit(15.0) - warmth, F.lit(0.0)) * 0.8
    pm10 = (F.lit(9.0) + heating + F.col("demand") * 8) * thinned * washed
    return (
        spark.range(count)
        .select(number, F.format_string("air-%03d", number).alias("station"), location.alias("location"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .withColumns({"road": number, "local_day": local_day, "local_minute": minute})
        .withColumn("demand", traffic.demand(chance))
        .withColumns({"wind": weather.wind(now, chance), "temperature": weather.temperature(now, chance)})
        .select(
            "station",
            "ts",
            "day",
            "location",
            measured("no2", no2, 1.2).alias("no2"),
            measured("pm10", pm10, 1.0).alias("pm10"),
            measured("o3", F.lit(48.0) + (warmth - 10) * 2.4 - no2 * 0.6, 2.0).alias("o3"),
        )
    )
