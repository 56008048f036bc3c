"""Machines of a plant: hourly sensors that drift as a component wears out, and the failures that end each life."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import day_off, local_steps, minutes, zone_offset
from nightmill.simulate.drops import Change, Drops, as_it_is

READINGS, READINGS_FILE = "factory/machines", "machines.parquet"
FAILURES, FAILURES_FILE = "factory/failures", "failures.csv"
ZONE = "UTC"
EVERY = timedelta(hours=1)
COMPONENTS = ("bearing", "seal", "winding")
SENSORS = ("temperature", "vibration", "pressure", "current", "speed", "load")
_SHIFTS_IN = "Europe/Berlin"
# Failure k happens at k * mean + jitter, so a life lasts mean +- jitter hours: 5 to 14 days. Unlike a sum of lives this
# needs no past, so any day can be computed alone.
_MEAN_LIFE = 228
_JITTER = 108


def reading_drops(
    spark: SparkSession, first: date, days: int, count: int, chance: Chance, fault: Change | None = None
) -> Drops:
    """`factory/machines/{day}/machines.parquet`: machine, ts (UTC timestamp), SENSORS. Dirt falls on temperature.

    A fault changes what `lives` gives.
    """
    code = chance.uniform("code", F.col("ts"), F.col("machine"))
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "superseded": {"temperature": F.round(F.col("temperature") * 0.9, 1)},
        "out_of_range": {"temperature": F.when(code < 0.5, -1.0).otherwise(999.0)},
        "missing_value": {"temperature": F.lit(None).cast("double")},
        "missing_step": {},
        "late": {},
    }
    soil = dirt.Soil(READINGS, READINGS_FILE, "machine", kinds, count * 24)
    clean = readings(spark, first - timedelta(days=1), days + 1, count, chance, fault)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns, order = ("machine", "ts", *SENSORS), ("ts", "machine", "temperature")
    return Drops(READINGS, READINGS_FILE, records, columns, order, truth, damage=("unreadable_file",))


def failure_drops(
    spark: SparkSession, first: date, days: int, count: int, chance: Chance, fault: Change | None = None
) -> Drops:
    """`factory/failures/{day}/failures.csv`: machine, ts (UTC, ISO 8601 without zone), component. No dirt.

    A fault changes what `lives` gives.
    """
    written = {"drop": F.col("day"), "ts": F.date_format("ts", "yyyy-MM-dd'T'HH:mm:ss")}
    rows = failures(spark, first, days, count, chance, fault).withColumns(written)
    return Drops(FAILURES, FAILURES_FILE, rows, ("machine", "ts", "component"), ("ts", "machine"))


def readings(
    spark: SparkSession, first: date, days: int, count: int, chance: Chance, fault: Change | None = None
) -> DataFrame:
    """machine (text), ts (UTC timestamp), day and the SENSORS, hourly.

    temperature °C, vibration mm/s, pressure bar, current A, speed rpm, load as a share of the rated load.
    """
    return (
        lives(spark, first, days, count, chance, fault)
        .withColumn("load", _load(chance))
        .withColumn("wear", _wear(chance))
        .select("machine", "ts", "day", *(value.alias(name) for name, value in _sensors(chance).items()))
    )


def failures(
    spark: SparkSession, first: date, days: int, count: int, chance: Chance, fault: Change | None = None
) -> DataFrame:
    """machine, ts (UTC timestamp, the last hour of a life), day, component (one of COMPONENTS)."""
    return (
        lives(spark, first, days, count, chance, fault)
        .where("remaining = 0")
        .select("machine", "ts", "day", _component(chance).alias("component"))
    )


def name(number: Column) -> Column:
    """Name of the machine with that number (from 0)."""
    return F.format_string("machine-%04d", number + 1)


def lives(
    spark: SparkSession, first: date, days: int, count: int, chance: Chance, fault: Change | None = None
) -> DataFrame:
    """machine, ts, day, hour (int64 since 1970), life (its number), remaining (hours to its failure, 0 in the last)."""
    machine, hour = F.col("machine"), F.col("hour")
    phase = F.floor(chance.uniform("phase", machine) * _MEAN_LIFE)
    near = F.floor((hour - phase) / _MEAN_LIFE).cast("long")

    def failure(life: Column) -> Column:
        jitter = F.floor(chance.uniform("life", machine, life) * (_JITTER + 1))
        return phase + life * _MEAN_LIFE + jitter - _JITTER // 2

    candidates = F.array(
        *(F.struct(failure(near + k).alias("end"), (near + k).alias("life")) for k in map(_long, (-1, 0, 1, 2)))
    )
    following = F.array_min(F.filter(candidates, lambda one: one["end"] >= hour))
    return (
        spark.range(count)
        .select(name(F.col("id")).alias("machine"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .withColumn("hour", F.floor(minutes(F.col("ts")) / 60).cast("long"))
        .withColumn("next", following)
        .select(
            "machine",
            "ts",
            "day",
            "hour",
            F.col("next.life").alias("life"),
            (F.col("next.end") - hour).alias("remaining"),
        )
        .transform(fault or as_it_is)
    )


def _wear(chance: Chance) -> Column:
    """0 new to 1 broken: grows exponentially towards the failure, as cracks do, at a rate of each machine's own."""
    rate = chance.between(30, 45, "wear", F.col("machine"))
    return F.exp(-F.col("remaining") / rate)


def _component(chance: Chance) -> Column:
    pick = F.floor(chance.uniform("component", F.col("machine"), F.col("life")) * len(COMPONENTS)) + 1
    return F.element_at(F.array(*map(F.lit, COMPONENTS)), pick.cast("int"))


def _load(chance: Chance) -> Column:
    """Share of the rated load: two shifts on working days, little at night and on weekends."""
    local = minutes(F.col("ts")) + zone_offset(F.col("ts"), _SHIFTS_IN)
    day = F.floor(local / 1440)
    in_shift = (~day_off(day)) & (local - day * 1440).between(360, 1319)
    wander = chance.drift("load", F.col("hour"), 4, F.col("machine")) * 0.07
    return F.greatest(F.lit(0.05), F.least(F.lit(1.0), F.when(in_shift, 0.75).otherwise(0.35) + wander))


def _sensors(chance: Chance) -> dict[str, Column]:
    machine, load = F.col("machine"), F.col("load")
    failing = {one: F.when(_component(chance) == one, F.col("wear")).otherwise(0.0) for one in COMPONENTS}

    def measured(name: str, value: Column, own: float, noise: float, digits: int) -> Column:
        differs = chance.normal(f"{name}/own", machine) * own
        error = chance.normal(f"{name}/noise", machine, F.col("hour")) * noise
        return F.round(F.greatest(value + differs + error, F.lit(0.0)), digits)

    heat = failing["bearing"] * 14 + failing["seal"] * 8 + failing["winding"] * 20
    return {
        "temperature": measured("temperature", load * 18 + 42 + heat, 1.5, 0.8, 1),
        "vibration": measured(
            "vibration", load * 0.6 + 1.6 + failing["bearing"] * 5 + F.col("wear") * 1.2, 0.1, 0.12, 2
        ),
        "pressure": measured("pressure", load * -0.3 + 6.4 - failing["seal"] * 2, 0.08, 0.05, 2),
        "current": measured("current", load * 24 + 12 + failing["winding"] * 9 + failing["bearing"] * 2, 0.6, 0.6, 1),
        "speed": measured("speed", load * -40 + 1490 - F.col("wear") * 35, 4, 4, 0),
        "load": F.round(load, 3),
    }


def _long(value: int) -> Column:
    return F.lit(value).cast("long")
