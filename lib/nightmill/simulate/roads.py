"""The road network: one-way roads of ten loop detectors each, every road leading into the middle of the next."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate.chance import Chance
from nightmill.simulate.drops import Master

NAME = "city/roads"
PER_ROAD = 10
JUNCTION = 4
"""Position on the next road that a road's last detector leads to."""
SPACING = 2.5
"""Mean distance of two detectors on a road, km."""
_KERNEL_KM = 3.0


def detectors(spark: SparkSession, count: int, chance: Chance) -> DataFrame:
    """One row per detector: detector (text), road and position (int64, from 0 in driving direction), km, free.

    `km` is the distance from the road's start, `free` the free-flow speed in km/h.
    """
    number = F.col("id")
    road, position = (F.floor(number / PER_ROAD).cast("long"), (number % PER_ROAD).cast("long"))
    limit = F.element_at(
        F.array(*map(F.lit, (60.0, 80.0, 100.0, 120.0))), (F.floor(chance.uniform("limit", road) * 4) + 1).cast("int")
    )
    return spark.range(count).select(
        name(number).alias("detector"),
        road.alias("road"),
        position.alias("position"),
        _km(chance, road, position).alias("km"),
        (limit * chance.between(0.92, 1.08, "free", number)).alias("free"),
    )


def edges(spark: SparkSession, count: int, chance: Chance) -> DataFrame:
    """from, to (text, in driving direction), weight in (0, 1]: exp(-(d / 3 km)²), d the distance of the two.

    The weight is the Gaussian kernel of Shuman et al. (IEEE Signal Processing Magazine 2013), usual for road graphs.
    """
    number = F.col("id")
    road, position = (F.floor(number / PER_ROAD).cast("long"), (number % PER_ROAD).cast("long"))
    last = (position == PER_ROAD - 1) | (number == count - 1)
    along = spark.range(count).where(~last)
    ahead = _km(chance, road, position + F.lit(1).cast("long")) - _km(chance, road, position)
    ramps = spark.range(count).where(last & (_target_of_ramp(number, count) != number))
    ramp = chance.between(0.5, 2.0, "ramp", road)
    return along.select(
        name(number).alias("from"), name(number + 1).alias("to"), _kernel(ahead).alias("weight")
    ).unionAll(ramps.select(name(number), name(_target_of_ramp(number, count)), _kernel(ramp)))


def graph(spark: SparkSession, count: int, chance: Chance) -> Master:
    """`city/roads/roads.csv`: `edges`."""
    return Master(NAME, "roads.csv", edges(spark, count, chance))


def name(number: Column) -> Column:
    """Name of the detector with that number (from 0)."""
    return F.format_string("det-%05d", number)


def roads_of(count: int) -> int:
    """Number of roads that `count` detectors stand on."""
    return -(-count // PER_ROAD)


def _target_of_ramp(number: Column, count: int) -> Column:
    following = (F.floor(number / PER_ROAD) + 1) % roads_of(count)
    return F.least(following * PER_ROAD + JUNCTION, F.lit(count - 1))


def _km(chance: Chance, road: Column, position: Column) -> Column:
    return position * SPACING + chance.between(-0.5, 0.5, "km", road, position)


def _kernel(km: Column) -> Column:
    return F.round(F.exp(-F.pow(km / _KERNEL_KM, 2)), 4)
