"""The city's map is one that its road graph fits on; machines stand in halls, none on another."""

from __future__ import annotations

import numpy as np
import pytest

from nightmill.simulate import maps, roads
from nightmill.simulate.chance import Chance

CHANCE = Chance(0)


@pytest.fixture(scope="module")
def city(spark):
    """Forty detectors: four roads."""
    return maps.detectors(spark, 40, CHANCE).rows.toPandas().set_index("detector")


def test_the_way_along_a_road_is_as_long_as_its_kilometres_say(city):
    for _, road in city.groupby("road"):
        straight = np.hypot(road["x"].diff(), road["y"].diff())[1:] / road["km"].diff()[1:]
        assert straight.between(0.99, 1.001).all()


def test_each_road_ends_where_the_graph_says_that_it_leads_to(spark, city):
    for edge in roads.edges(spark, 40, CHANCE).collect():
        a, b = city.loc[edge["from"]], city.loc[edge["to"]]
        away = np.hypot(a["x"] - b["x"], a["y"] - b["y"])
        assert away < (4 if a["road"] == b["road"] else 1.2)


def test_roads_cross_the_centre_and_run_around_it(city):
    away = np.hypot(city["x"], city["y"]).groupby(city["road"])
    assert (away.min() < 0.6).tolist() == [True, False, False, True]
    assert away.agg(np.ptp)[1] < 0.01 < 5 < away.agg(np.ptp)[0]


def test_a_district_is_where_a_detector_stands(city):
    assert set(city["district"]) == {"centre", "north", "east", "south", "west"}
    for _, row in city.iterrows():
        x, y = row["x"], row["y"]
        if np.hypot(x, y) < maps.CENTRE:
            assert row["district"] == "centre"
        else:
            sides = ("east" if x > 0 else "west") if abs(x) > abs(y) else ("north" if y > 0 else "south")
            assert row["district"] == sides


def test_a_larger_city_keeps_the_map_of_a_smaller_one_and_gets_districts_around_it(spark, city):
    large = maps.detectors(spark, 2000, CHANCE).rows.toPandas().set_index("detector")
    assert large.loc[city.index].equals(city)
    assert {"centre", "north", "north 2", "west 2"} < set(large["district"]) and large["district"].nunique() < 20
    moved = large.groupby("road")[["x", "y", "km"]].diff().dropna()
    assert (np.hypot(moved["x"], moved["y"]) / moved["km"]).between(0.99, 1.002).all()
    assert not large.duplicated(["x", "y"]).any()


def test_another_seed_mirrors_blocks_of_roads(spark):
    starts = [
        maps.detectors(spark, 40, Chance(seed)).rows.where("detector = 'det-00030'").first()["y"] for seed in range(4)
    ]
    assert min(starts) < -20 and max(starts) > 20


def test_machines_stand_in_halls_of_twenty(spark):
    floor = maps.floor(spark, 530, CHANCE).rows.toPandas()
    assert not floor.duplicated(["x", "y"]).any() and floor["machine"].is_unique
    assert floor["hall"].drop_duplicates().tolist()[:3] == ["A", "B", "C"]
    assert floor["hall"].tolist()[-10:] == ["A2"] * 10 and floor["hall"].value_counts().max() == maps.PER_HALL
    boxes = floor.groupby("hall")[["x", "y"]].agg(["min", "max"]).to_numpy()
    for i, (left, right, low, high) in enumerate(boxes):
        for west, east, south, north in boxes[:i]:
            assert right < west or east < left or high < south or north < low, "halls do not overlap"
