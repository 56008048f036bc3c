"""Local days begin at local midnight and have as many hours as the clocks say."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from pyspark.sql import functions as F

from nightmill.simulate.clock import local_steps, weekend, zone_offset

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("day", "first", "hours"),
    [
        (date(2026, 3, 28), "2026-03-27 23:00", 24),
        (date(2026, 3, 29), "2026-03-28 23:00", 23),
        (date(2026, 3, 30), "2026-03-29 22:00", 24),
        (date(2026, 10, 25), "2026-10-24 22:00", 25),
    ],
)
def test_a_day_has_all_its_hours_also_when_clocks_change(spark, day, first, hours):
    steps = local_steps(spark, day, 1, HOUR, "Europe/Berlin").withColumn("ts", F.col("ts").cast("string"))
    begin = datetime.fromisoformat(first)
    assert sorted(map(tuple, steps.collect())) == [(day, str(begin + n * HOUR)) for n in range(hours)]


def test_days_follow_each_other_without_gap_or_overlap(spark):
    steps = local_steps(spark, date(2026, 10, 24), 3, HOUR, "Europe/Berlin")
    seconds = sorted(row[0] for row in steps.select(F.unix_seconds("ts")).collect())
    assert len(seconds) == 24 + 25 + 24
    assert {b - a for a, b in pairwise(seconds)} == {3600}


def test_the_offset_follows_the_clocks(spark):
    rows = local_steps(spark, date(2026, 3, 28), 3, timedelta(hours=12), "Europe/Berlin")
    offsets = rows.orderBy("ts").select(zone_offset(F.col("ts"), "Europe/Berlin")).collect()
    assert [row[0] for row in offsets] == [60.0, 60.0, 60.0, 120.0, 120.0]  # 29 March has 23 hours


def test_weekends_are_saturdays_and_sundays(spark):
    days = spark.range(4, 11).select((F.to_date(F.lit("1970-01-01")) + F.col("id").cast("int")), weekend(F.col("id")))
    found = {row[0].strftime("%a"): row[1] for row in days.collect()}
    assert {name for name, free in found.items() if free} == {"Sat", "Sun"}
    assert len(found) == 7
