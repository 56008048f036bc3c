"""Pressure in the water network, every quarter of an hour: one wide csv with a column per sensor.

People draw water in the morning and in the evening, later on days off and more when it is hot; that costs pressure. In
a third of all fortnights a sensor's neighbourhood has a leak for half a day to three days, which costs 0.4 to 1 bar.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt, weather
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import day_off, iso, local_clock, local_steps, minutes, peak
from nightmill.simulate.drops import Drops
from nightmill.simulate.episodes import Steps

NAME, FILE = "city/water", "water.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(minutes=15)
LEAKY = 0.35
"""Share of a sensor's fortnights with a leak."""
_FORTNIGHT = 14 * 1440


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/water/{day}/water.csv`: ts (UTC), then a column per sensor (bar). Dirt falls on single cells."""
    value, steps = F.col("pressure"), Steps(EVERY, ZONE)
    number, frozen = value.cast("double"), chance.between(3, 5, "water/stuck", F.col("sensor"), steps.watch())
    kinds: dict[str, dict[str, Column]] = {
        "out_of_range": {"pressure": F.lit("-0.500")},
        "not_a_number": {"pressure": F.lit("#REF!")},
        "missing_value": {"pressure": F.lit(None).cast("string")},
        "stuck": {"pressure": _text(frozen)},
        "spike": {"pressure": _text(number + 4)},
    }
    clean = pressures(spark, first, days, count, chance).withColumn("pressure", _text(value))
    soil = dirt.Soil(NAME, FILE, "sensor", kinds, count * 96, steps)
    cells, truth = dirt.plant(clean, soil, first, days, chance)
    cell = F.struct("number", F.coalesce("pressure", F.lit("")).alias("text"))
    texts = F.transform(F.sort_array(F.collect_list(cell)), lambda one: one["text"])
    rows = cells.groupBy("drop", "ts").agg(F.array_join(texts, ",").alias("cells")).withColumn("time", iso(F.col("ts")))
    header = ("ts", *[f"p-{number:03d}" for number in range(count)])
    return Drops(NAME, FILE, rows, ("time", "cells"), ("ts",), truth, header, damage=("unreadable_file",))


def pressures(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """sensor, number (from 0), ts (UTC timestamp), day, pressure (bar, three decimals), without dirt."""
    number, sensor, now = F.col("number"), F.col("sensor"), minutes(F.col("ts"))
    day, minute = local_clock(F.col("ts"), ZONE)
    own = chance.between(4.4, 5.2, "water/own", number)
    wander = chance.drift("water/network", now, 90) * 0.03 + chance.drift("water/sensor", now, 60, sensor) * 0.02
    error = chance.normal("water/error", F.col("ts"), sensor) * 0.015
    drawn = draw(day, minute, weather.temperature(now, chance)) * 0.6
    pressure = own - drawn - _lost(now, chance) + wander + error
    return (
        spark.range(count)
        .select(F.col("id").alias("number"), F.format_string("p-%03d", "id").alias("sensor"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .select("sensor", "number", "ts", "day", F.round(F.greatest(pressure, F.lit(0.1)), 3).alias("pressure"))
    )


def leaks(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """sensor, begin and end (UTC timestamps), bar (lost at the sensor) of the leaks that touch these days."""
    begin = (first.toordinal() - date(1970, 1, 1).toordinal()) * 1440
    fortnights = F.sequence(*(F.lit(m // _FORTNIGHT).cast("long") for m in (begin, begin + days * 1440)))
    start, end, lost, has = _leak(F.col("fortnight"), chance)
    return (
        spark.range(count)
        .select(F.col("id").alias("number"), F.format_string("p-%03d", "id").alias("sensor"))
        .withColumn("fortnight", F.explode(fortnights))
        .where(has & (start < begin + days * 1440) & (end > begin))
        .select("sensor", _at(start).alias("begin"), _at(end).alias("end"), lost.alias("bar"))
    )


def draw(day: Column, minute: Column, temperature: Column) -> Column:
    """What people draw, 0.1 at night to about 1.2: two peaks, an hour and a half later on days off, more in heat."""
    shift = F.when(day_off(day), 90).otherwise(0)
    daily = peak(minute - shift, 450, 70) + peak(minute, 1140, 110) * 0.8 + peak(minute, 780, 240) * 0.35
    return (daily * 0.9 + 0.1) * (F.greatest(temperature - 20, F.lit(0.0)) * 0.02 + 1)


def _leak(fortnight: Column, chance: Chance) -> tuple[Column, Column, Column, Column]:
    """Start and end (minutes since 1970), pressure lost (bar), and whether there is one; all within the fortnight."""
    of = (F.col("number"), fortnight)
    start = fortnight * _FORTNIGHT + chance.between(0, 10 * 1440, "water/leak/start", *of)
    end = start + chance.between(720, 3 * 1440, "water/leak/length", *of)
    return start, end, chance.between(0.4, 1.0, "water/leak/bar", *of), chance.uniform("water/leak", *of) < LEAKY


def _lost(now: Column, chance: Chance) -> Column:
    """bar: a leak opens within two hours."""
    start, end, bar, has = _leak(F.floor(now / _FORTNIGHT).cast("long"), chance)
    open_ = F.least((now - start) / 120, F.lit(1.0))
    return F.when(has & (now > start) & (now < end), bar * open_).otherwise(0.0)


def _at(minute: Column) -> Column:
    return F.timestamp_seconds(F.round(minute * 60))


def _text(pressure: Column) -> Column:
    return F.format_string("%.3f", pressure)
