"""River gauges, every quarter of an hour: rain that has fallen comes down hours later.

The generating process, level in m at gauge g of catchment c and step t:

    Q(g, t) = base(g) + 0.4 area(g) R(c, t) / 3.6            flow in m³/s, R in mm/h, area in km²
    R(c, t) = sum over k of w_c(k) rain(c, t - 12 - k)       nothing arrives within the first three hours
    w_c: a cascade of three equal reservoirs (Nash 1957) of 1.5, 2.5, 3.5 or 4.5 h each, cut off after 48 h
    level = (Q / 8)^0.625 + error                            rating curve Q = 8 h^1.6, error normal, deviation 8 mm

So a level up to three hours ahead is determined by rain that the data already show, up to the error, which is then
the best possible RMSE; `oracle` also gives the forecast for longer horizons, where it takes the rain to end now.
"""

from __future__ import annotations

import math
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt, weather
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import local_steps
from nightmill.simulate.drops import Drops
from nightmill.simulate.episodes import Steps

NAME, FILE = "city/river", "river.parquet"
ZONE = "UTC"
EVERY = timedelta(minutes=15)
DELAY = 12
"""Steps until the first of a rain arrives."""
ERROR = 0.008
"""Standard deviation of a reading, m."""
RESERVOIRS_H = (1.5, 2.5, 3.5, 4.5)
"""Mean stay in each of three reservoirs by catchment, hours."""
_TAPS = 192
# sums of integers do not depend on the order in which partitions come
_WEIGHT, _RAIN = 1_000_000, 100


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`city/river/{day}/river.parquet`: gauge, ts (UTC timestamp), level (m), rain (mm in the step)."""
    level, steps = F.col("level"), Steps(EVERY, ZONE)
    code = chance.uniform("river/code", F.col("ts"), F.col("gauge"))
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "superseded": {"level": F.round(level + 0.25, 3)},
        "out_of_range": {"level": F.when(code < 0.5, -9.999).otherwise(99.999)},
        "missing_value": {"level": F.lit(None).cast("double")},
        "missing_step": {},
        "late": {},
        "stuck": {"level": F.round(chance.between(0.4, 0.6, "river/stuck", F.col("gauge"), steps.watch()), 3)},
        "spike": {"level": F.round(level + 2.5, 3)},
    }
    clean = levels(spark, first - timedelta(days=1), days + 1, count, chance)
    soil = dirt.Soil(NAME, FILE, "gauge", kinds, count * 96, steps)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns, damage = ("gauge", "ts", "level", "rain"), ("unreadable_file", "same_file_again")
    return Drops(NAME, FILE, records, columns, ("ts", "gauge", "level"), truth, damage=damage)


def levels(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """gauge, ts (UTC timestamp), day, level (m, three decimals), rain (mm in the step), without dirt."""
    error = chance.normal("river/error", F.col("ts"), F.col("gauge")) * ERROR
    level = F.round(F.greatest(F.col("true_level") + error, F.lit(0.0)), 3)
    return _true(spark, first, days, count, chance, 0).select("gauge", "ts", "day", level.alias("level"), "rain")


def oracle(spark: SparkSession, first: date, days: int, count: int, chance: Chance, horizon: int) -> DataFrame:
    """gauge, target_ts and value (m): the forecast made `horizon` steps earlier by who knows the process."""
    truth = _true(spark, first, days, count, chance, horizon)
    return truth.select("gauge", F.col("ts").alias("target_ts"), F.col("true_level").alias("value"))


def kernel(hours: float) -> list[float]:
    """Weights of the steps after DELAY of three reservoirs of that mean stay; their sum is 1."""
    raw = [((k + 0.5) / 4) ** 2 * math.exp(-(k + 0.5) / 4 / hours) for k in range(_TAPS)]
    return [weight / sum(raw) for weight in raw]


def _true(spark: SparkSession, first: date, days: int, count: int, chance: Chance, horizon: int) -> DataFrame:
    """gauge, ts, day, rain, true_level (m) from rain that fell at least `horizon` steps before."""
    number, gauge = F.col("id"), F.col("gauge")
    gauges = spark.range(count).select(
        F.format_string("gauge-%03d", number).alias("gauge"), (number % len(RESERVOIRS_H)).alias("catchment")
    )
    area = chance.between(30, 150, "river/area", gauge)
    flow = chance.between(0.8, 3.0, "river/base", gauge) + area * F.coalesce("response", F.lit(0.0)) * (0.4 / 3.6)
    steps = local_steps(spark, first, days, EVERY, ZONE)
    rains = _rain(spark, first, days, chance)
    return (
        gauges.crossJoin(F.broadcast(steps))
        .withColumn("step", _step(F.unix_seconds("ts")))
        .join(F.broadcast(rains), ["catchment", "step"])
        .join(F.broadcast(_response(spark, rains, horizon)), ["catchment", "step"], "left")
        .select(
            "gauge", "ts", "day", (F.col("fallen") / _RAIN).alias("rain"), F.pow(flow / 8, 0.625).alias("true_level")
        )
    )


def _rain(spark: SparkSession, first: date, days: int, chance: Chance) -> DataFrame:
    """catchment, step (int64), fallen (int64, hundredths of mm), from the three days before `first` on."""
    begin = (first - timedelta(days=3)).toordinal() - date(1970, 1, 1).toordinal()
    catchments = F.array(*[F.lit(n).cast("long") for n in range(len(RESERVOIRS_H))])
    step = F.col("id")
    fallen = weather.rain(step * 15.0, chance, F.col("catchment")) / 4 * _RAIN
    return (
        spark.range(begin * 96, (begin + days + 4) * 96)
        .select(step.alias("step"), F.explode(catchments).alias("catchment"), step)
        .select("catchment", "step", F.round(fallen).cast("long").alias("fallen"))
    )


def _response(spark: SparkSession, rains: DataFrame, horizon: int) -> DataFrame:
    """catchment, step, response (mm/h arriving) from rain that fell at least `horizon` steps before."""
    weights = F.array(
        *[F.array(*[F.lit(round(w * _WEIGHT)).cast("long") for w in kernel(hours)]) for hours in RESERVOIRS_H]
    )
    taps = F.posexplode(F.get(weights, F.col("catchment").cast("int"))).alias("k", "weight")
    arriving = F.sum(F.col("fallen") * F.col("weight")) * (4.0 / _RAIN / _WEIGHT)
    return (
        rains.where("fallen > 0")
        .select("catchment", "step", "fallen", taps)
        .where(F.col("k") + DELAY >= horizon)
        .groupBy("catchment", (F.col("step") + DELAY + F.col("k")).alias("step"))
        .agg(arriving.alias("response"))
    )


def _step(seconds: Column) -> Column:
    return F.floor(seconds / int(EVERY.total_seconds())).cast("long")
