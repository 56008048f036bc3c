"""Speeds are those of a city: rush hours, waves that travel upstream, no two days alike."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from pyspark.sql import functions as F

from nightmill.simulate.chance import Chance
from nightmill.simulate.traffic import speeds

MONDAY = date(2026, 3, 2)


@pytest.fixture(scope="module")
def week(spark):
    """Speeds [step, detector] of ten detectors, Monday to Sunday."""
    rows = speeds(spark, MONDAY, 7, 10, Chance(0)).toPandas()
    table = rows.pivot(index="ts", columns="detector", values="speed").sort_index()
    assert not table.isna().any().any()
    return table.to_numpy()


def test_every_step_of_every_detector_is_there_once_and_possible(week):
    assert week.shape == (7 * 288, 10)
    assert 3 <= week.min() < 60 and 60 < week.max() <= 160


def test_rush_hours_are_slower_than_nights_and_only_on_working_days(week):
    by_hour = week.reshape(7, 24, 12, 10).mean(axis=(2, 3))
    working, weekend = by_hour[:5].mean(axis=0), by_hour[5:].mean(axis=0)
    assert working[8] < 0.85 * working[3]
    assert working[17] < 0.85 * working[3]
    assert weekend[8] > 0.93 * weekend[3]


def test_no_two_working_days_are_alike(week):
    mornings = week.reshape(7, 288, 10)[:5, 84:108].mean(axis=1)
    assert mornings.std(axis=0).mean() > 3


def test_congestion_reaches_the_detector_upstream_about_ten_minutes_later(week):
    days = week.reshape(7, 288, 10)[:5]
    unusual = (days - days.mean(axis=0)).reshape(-1, 10)

    def correlation(lag):
        """Of a detector with its downstream neighbour `lag` steps earlier, mean over the pairs."""
        pairs = [(unusual[6:-6, n], np.roll(unusual[:, n + 1], lag)[6:-6]) for n in range(9)]
        return np.mean([np.corrcoef(mine, ahead)[0, 1] for mine, ahead in pairs])

    by_lag = {lag: correlation(lag) for lag in range(-4, 7)}
    assert max(by_lag, key=by_lag.__getitem__) in (1, 2, 3)
    assert by_lag[2] > 0.6 and by_lag[2] > by_lag[-2] + 0.05


@pytest.mark.parametrize(("day", "steps", "texts"), [(date(2026, 3, 29), 276, 276), (date(2026, 10, 25), 300, 288)])
def test_the_nights_of_clock_changes_lose_and_invent_nothing(spark, day, steps, texts):
    rows = speeds(spark, day, 1, 2, Chance(0))
    local = F.date_format(F.from_utc_timestamp("ts", "Europe/Berlin"), "yyyy-MM-dd HH:mm:ss")
    found = rows.groupBy("detector").agg(F.count("ts"), F.count_distinct("ts"), F.count_distinct(local)).collect()
    assert [tuple(row)[1:] for row in found] == [(steps, steps, texts)] * 2


def test_a_day_is_the_same_alone_and_among_others_and_differs_by_seed(spark, week):
    alone = speeds(spark, date(2026, 3, 4), 1, 10, Chance(0)).toPandas()
    table = alone.pivot(index="ts", columns="detector", values="speed").sort_index().to_numpy()
    assert (table == week[2 * 288 : 3 * 288]).all()
    other = speeds(spark, date(2026, 3, 4), 1, 10, Chance(1)).toPandas()
    assert (other["speed"].sort_values().to_numpy() != alone["speed"].sort_values().to_numpy()).mean() > 0.5
