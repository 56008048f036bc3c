"""Machines live 5 to 14 days, wear out visibly, fail and begin anew in the next hour."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from pyspark.sql import functions as F

from nightmill.simulate import machines
from nightmill.simulate.chance import Chance

FIRST, DAYS, COUNT = date(2026, 3, 2), 40, 6


@pytest.fixture(scope="module")
def lives(spark):
    """Per machine its rows (life, remaining) in time."""
    rows = machines.lives(spark, FIRST, DAYS, COUNT, Chance(0)).orderBy("machine", "hour").collect()
    found: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        found.setdefault(row["machine"], []).append((row["life"], row["remaining"]))
    return found


@pytest.fixture(scope="module")
def readings(spark):
    rows = machines.readings(spark, FIRST, DAYS, COUNT, Chance(0)).cache()
    yield rows
    rows.unpersist()


def test_remaining_hours_count_down_to_0_and_a_new_life_begins_in_the_next_hour(lives):
    assert {len(rows) for rows in lives.values()} == {DAYS * 24}
    for rows in lives.values():
        for (life, remaining), following in pairwise(rows):
            if remaining > 0:
                assert following == (life, remaining - 1)
            else:
                assert following[0] == life + 1


def test_lives_last_5_to_14_days(lives):
    lengths = []
    for rows in lives.values():
        begins = [i + 1 for i, (_, remaining) in enumerate(rows) if remaining == 0]
        lengths += [end - begin for begin, end in pairwise(begins)]
    assert len(lengths) > 12
    assert min(lengths) >= 5 * 24 and max(lengths) <= 14 * 24
    assert max(lengths) - min(lengths) > 72


def test_failures_are_the_last_hours_of_lives(spark, lives):
    failed = machines.failures(spark, FIRST, DAYS, COUNT, Chance(0))
    hours = failed.select("machine", (F.unix_seconds("ts") / 3600).cast("int").alias("hour"), "component").collect()
    begin = date.toordinal(FIRST) - date(1970, 1, 1).toordinal()
    wanted = {
        (name, begin * 24 + i)
        for name, rows in lives.items()
        for i, (_, remaining) in enumerate(rows)
        if remaining == 0
    }
    assert {(row["machine"], row["hour"]) for row in hours} == wanted
    assert {row["component"] for row in hours} == set(machines.COMPONENTS)


def test_worn_machines_show_it_in_the_sensors_of_the_failing_component(spark, readings):
    failed = machines.failures(spark, FIRST, DAYS, COUNT, Chance(0)).select(
        "machine", "component", F.col("ts").alias("end")
    )
    left = (F.unix_seconds("end") - F.unix_seconds("ts")) / 3600
    stage = F.when(left.between(0, 5), "worn").when(left.between(96, 119), "fresh")
    means = (
        readings.join(failed, "machine")
        .withColumn("stage", stage)
        .where("stage is not null")
        .groupBy("component")
        .pivot("stage", ["fresh", "worn"])
        .agg(*(F.avg(name).alias(name) for name in machines.SENSORS))
    )
    rise = {
        row["component"]: {s: row[f"worn_{s}"] - row[f"fresh_{s}"] for s in machines.SENSORS} for row in means.collect()
    }
    assert rise["bearing"]["vibration"] > 3 > rise["seal"]["vibration"]
    assert rise["seal"]["pressure"] < -1 < rise["winding"]["pressure"]
    assert rise["winding"]["temperature"] > 10
    assert all(abs(change["load"]) < 0.25 for change in rise.values())


def test_readings_are_possible_and_follow_the_shifts(readings):
    ranges = readings.agg(
        *(F.min(name).alias(f"{name}_low") for name in machines.SENSORS),
        *(F.max(name).alias(f"{name}_high") for name in machines.SENSORS),
    )
    found = ranges.first().asDict()
    allowed = {
        "temperature": (35, 110),
        "vibration": (0.5, 12),
        "pressure": (3, 8),
        "current": (8, 60),
        "speed": (1350, 1520),
        "load": (0.05, 1),
    }
    for name, (low, high) in allowed.items():
        assert low <= found[f"{name}_low"] < found[f"{name}_high"] <= high, name
    monday = readings.where(F.col("day") == FIRST).groupBy(F.hour("ts").alias("hour")).avg("load")
    load = {row["hour"]: row["avg(load)"] for row in monday.collect()}
    assert min(load[h] for h in range(5, 21)) > max(load[h] for h in (22, 23, 0, 1, 2, 3))


def test_a_day_is_the_same_alone_and_among_others(spark, readings):
    among = readings.where("day = '2026-03-04'").collect()
    alone = machines.readings(spark, date(2026, 3, 4), 1, COUNT, Chance(0)).collect()
    assert sorted(among) == sorted(alone) and len(alone) == 24 * COUNT
