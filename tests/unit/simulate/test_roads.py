"""The road network is one that cars could drive on."""

from __future__ import annotations

from pyspark.sql import functions as F

from nightmill.simulate import roads
from nightmill.simulate.chance import Chance


def _edges(spark, count):
    rows = roads.edges(spark, count, Chance(0)).collect()
    return {(int(r["from"][-5:]), int(r["to"][-5:])): r["weight"] for r in rows}


def test_each_road_leads_into_the_middle_of_the_next(spark):
    along = {(n, n + 1) for n in range(9)} | {(n, n + 1) for n in range(10, 19)}
    assert _edges(spark, 20).keys() == along | {(9, 14), (19, 4)}


def test_a_last_road_that_is_not_full_ends_where_its_detectors_end(spark):
    assert _edges(spark, 12).keys() == {(n, n + 1) for n in range(9)} | {(10, 11), (9, 11), (11, 4)}


def test_one_detector_has_no_edges(spark):
    assert _edges(spark, 1) == {}


def test_weights_are_those_of_the_distances(spark):
    where = {r["detector"]: r["km"] for r in roads.detectors(spark, 10, Chance(0)).collect()}
    for row in roads.edges(spark, 10, Chance(0)).where(F.col("from") < F.col("to")).collect():
        distance = where[row["to"]] - where[row["from"]]
        assert 1.5 <= distance <= 3.5
        assert abs(row["weight"] - 2.718281828 ** -((distance / 3) ** 2)) < 1e-4


def test_a_larger_city_keeps_the_detectors_of_a_smaller_one(spark):
    small, large = (roads.detectors(spark, n, Chance(0)).collect() for n in (15, 35))
    assert set(small) < set(large)
