"""Where things stand: the detectors on the city's map, the machines on the plant's floor.

Roads come in blocks of four around a crossing of theirs: one leaves the crossing, a ring road takes over from its end,
a by-pass from the ring road's, and the fourth leads from there to the crossing of the next block. The first two blocks
share the city's centre, so four roads are a closed network; further crossings lie on a spiral around it, so a city
grows outwards and keeps the map of the smaller one. Each road is an arc, and `km` the way along it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import machines, roads
from nightmill.simulate.chance import Chance
from nightmill.simulate.drops import Master

DETECTORS, FLOOR = "city/detectors", "factory/floor"
BLOCK = 4
"""Roads around one crossing."""
CENTRE, RING = 5.0, 18.0
"""Radius of the central district, and width of the rings of districts around it, km."""
PER_HALL, PER_ROW = 20, 5
"""Machines of a full hall, and of a row in it."""
_BEFORE = roads.JUNCTION * roads.SPACING
_AHEAD = (roads.PER_ROAD - 1) * roads.SPACING - _BEFORE
"""km of a road after the place where the road before it ends."""
_APART = 8.0
"""Way along the spiral from one crossing to the next, and from one turn of it to the next, km."""
_BEND = 1 / (2 * _AHEAD)
"""Curvature of a by-pass, 1/km; that of a ring road is 1/_AHEAD."""
_RING_TURN = 1.0
_BYPASS_TURN = 2 * math.asin(math.sin(_BEND * _AHEAD / 2) / _BEND / _AHEAD)
"""Angles around the crossing that these two lead through, radians."""


class Point(NamedTuple):
    """A place, km east and north of the city's centre."""

    x: Column
    y: Column


def detectors(spark: SparkSession, count: int, chance: Chance) -> Master:
    """`city/detectors/detectors.csv`: the columns of `roads.detectors`, then district, x and y (km)."""
    place = on_road(F.col("road"), F.col("km"), chance)
    return Master(
        DETECTORS,
        "detectors.csv",
        roads.detectors(spark, count, chance)
        .withColumns({"x": place.x, "y": place.y})
        .select(
            "detector",
            "road",
            "position",
            F.round("km", 3).alias("km"),
            F.round("free", 1).alias("free"),
            district(F.col("x"), F.col("y")).alias("district"),
            F.round("x", 3).alias("x"),
            F.round("y", 3).alias("y"),
        ),
    )


def floor(spark: SparkSession, count: int, chance: Chance) -> Master:
    """`factory/floor/floor.csv`: machine, hall, x and y (m): rows of five, an aisle through the middle of each hall.

    Halls are called A to Z, then A2 to Z2 and so on; four stand side by side.
    """
    hall, place = F.floor(F.col("id") / PER_HALL), F.col("id") % PER_HALL
    row, again = F.floor(place / PER_ROW), F.floor(hall / 26)
    letter = F.char((hall % 26 + 65).cast("int"))
    x = (hall % 4) * 45 + (place % PER_ROW) * 8 + 4
    y = F.floor(hall / 4) * 36 + row * 7 + F.when(row >= 2, 8).otherwise(4)
    return Master(
        FLOOR,
        "floor.csv",
        spark.range(count).select(
            machines.name(F.col("id")).alias("machine"),
            F.when(again == 0, letter).otherwise(F.concat(letter, (again + 1).cast("string"))).alias("hall"),
            x.cast("double").alias("x"),
            y.cast("double").alias("y"),
        ),
    )


def on_road(road: Column, km: Column, chance: Chance) -> Point:
    """Where one is after `km` of a road; `road` is an int64 number from 0."""
    block, part = F.floor(road / BLOCK).cast("long"), road % BLOCK
    crossing, following = _crossing(block), _crossing(block + 1)
    east, north = following.x - crossing.x, following.y - crossing.y
    side = F.when(chance.uniform("map/side", block) < 0.5, 1.0).otherwise(-1.0)
    # the fourth road meets the ring at the apex of a triangle over the two crossings, so its way ends at the next one
    slope = side * F.acos(F.sqrt(east * east + north * north) / (2 * _AHEAD))
    towards = F.atan2(north, east)
    fourth = towards + slope
    third = fourth - side * _BYPASS_TURN
    first = third - side * _RING_TURN

    def of_part(*values: Column) -> Column:
        return F.when(part == 0, values[0]).when(part == 1, values[1]).when(part == 2, values[2]).otherwise(values[3])

    angle = of_part(first, first, third, fourth)
    away = F.when(part == 0, 0.0).otherwise(_AHEAD)
    joined = Point(crossing.x + away * F.cos(angle), crossing.y + away * F.sin(angle))
    across = side * (math.pi / 2)
    heading = of_part(
        first, first + across, third + side * (_BYPASS_TURN / 2 - _BEND * _AHEAD / 2) + across, towards - slope
    )
    bend = of_part(F.lit(0.0), side / _AHEAD, side * _BEND, F.lit(0.0))
    return _along(joined, heading, bend, km - _BEFORE)


def district(x: Column, y: Column) -> Column:
    """Centre, north, east, south or west; farther out with the number of the ring, as in north 2."""
    sector = F.floor(F.atan2(y, x) / (math.pi / 2) + 0.5).cast("long")
    name = F.element_at(
        F.array(*map(F.lit, ("east", "north", "west", "south"))), (F.pmod(sector, F.lit(4)) + 1).cast("int")
    )
    radius = F.sqrt(x * x + y * y)
    ring = F.floor((radius - CENTRE) / RING) + 1
    return (
        F.when(radius < CENTRE, "centre").when(ring == 1, name).otherwise(F.concat_ws(" ", name, ring.cast("string")))
    )


def _crossing(block: Column) -> Point:
    """Archimedes' spiral at equal steps along it; both of the first two blocks have the centre."""
    widening = _APART / (2 * math.pi)
    turn = F.sqrt(F.greatest(block - 1, F.lit(0)) * (2 * _APART / widening))
    return Point(turn * widening * F.cos(turn), turn * widening * F.sin(turn))


def _along(start: Point, heading: Column, bend: Column, way: Column) -> Point:
    """The end of an arc of that curvature (1/km, to the left) and length (km, backwards below 0)."""
    half = bend * way / 2 + 1e-12  # never 0, where the quotient has no value
    chord = way * F.sin(half) / half
    return Point(start.x + chord * F.cos(heading + half), start.y + chord * F.sin(heading + half))
