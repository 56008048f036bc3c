"""The city's systems drive each other, and the errors of their oracles are those that are documented."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from nightmill.simulate import bikes, calls, energy, lights, noise, river, water
from nightmill.simulate.chance import Chance

MONDAY, DAYS, CHANCE = date(2026, 3, 2), 10, Chance(7)


@pytest.fixture(scope="module")
def gauges(spark):
    """Levels and rain [step, gauge] of four gauges, one of each catchment."""
    rows = river.levels(spark, MONDAY, DAYS, 4, CHANCE).toPandas()
    return {name: rows.pivot(index="ts", columns="gauge", values=name).sort_index() for name in ("level", "rain")}


def _rmse(table, forecast):
    return float(np.sqrt(((table - forecast) ** 2).to_numpy().mean()))


def test_a_river_rises_hours_after_the_rain_and_not_before(gauges):
    assert (gauges["level"] > 0).all(axis=None) and gauges["rain"].to_numpy().max() > 0.2
    rain, level = gauges["rain"].rolling(8).sum(), gauges["level"].diff(8)
    lags = {lag: np.mean([level[g].corr(rain[g].shift(lag)) for g in level]) for lag in (0, 8, 16, 24, 48, 96)}
    assert max(lags, key=lags.__getitem__) in (16, 24) and lags[16] > 0.6 and lags[0] < 0.4


def test_the_river_three_hours_ahead_is_known_up_to_the_error_of_a_reading(spark, gauges):
    level = gauges["level"]
    for horizon, low, high in ((12, 0.9, 1.1), (32, 1.5, 100)):
        rows = river.oracle(spark, MONDAY, DAYS, 4, CHANCE, horizon).toPandas()
        oracle = rows.pivot(index="target_ts", columns="gauge", values="value").sort_index()
        assert low < _rmse(level.to_numpy(), oracle) / river.ERROR < high
        assert _rmse(level.to_numpy(), oracle) < 0.6 * _rmse(level.diff(horizon).dropna(), 0)


def test_the_oracle_of_noise_is_as_good_as_its_formula_says_and_better_than_persistence(spark):
    rows = noise.levels(spark, MONDAY, DAYS, 6, CHANCE).toPandas()
    level = rows.pivot(index="ts", columns="station", values="level").sort_index()
    for horizon in (1, 4):
        expected = noise.oracle(spark, MONDAY, DAYS, 6, CHANCE, horizon).toPandas()
        value = expected.pivot(index="target_ts", columns="station", values="value").sort_index()
        error = _rmse(level.to_numpy(), value)
        assert abs(error / noise.oracle_rmse(horizon) - 1) < 0.06
        assert error < 0.75 * _rmse(level.diff(horizon).dropna(), 0)
    by_station = rows.groupby("station")[["vehicles", "level"]].corr()["level"].xs("vehicles", level=1)
    assert by_station.min() > 0.6


def test_cold_and_offices_need_energy(spark):
    rows = energy.loads(spark, MONDAY, DAYS, 6, CHANCE).toPandas()
    rows["hour"], rows["free"] = rows["ts"].dt.hour, [day.weekday() >= 5 for day in rows["day"]]
    noon = rows[rows["hour"].between(10, 12)].groupby("free")["load"].mean()
    assert noon[True] < 0.9 * noon[False]
    unusual = rows - rows.groupby(["district", "hour", "free"])[["temperature", "load"]].transform("mean")
    assert unusual["load"].corr(unusual["temperature"]) < -0.3
    assert rows["load"].between(5, 200).all()


def test_leaks_cost_pressure_at_their_sensor(spark):
    count = 12
    rows = water.pressures(spark, MONDAY, DAYS, count, CHANCE).toPandas()
    unusual = rows["pressure"] - rows.groupby(["sensor", rows["ts"].dt.time])["pressure"].transform("median")
    leaks = water.leaks(spark, MONDAY, DAYS, count, CHANCE).toPandas()
    assert len(leaks) >= 2
    for leak in leaks.itertuples():
        during = (rows["sensor"] == leak.sensor) & rows["ts"].between(leak.begin, leak.end)
        if 8 <= during.sum() < 96 * 3:
            assert unusual[during].median() < -0.5 * leak.bar
    assert rows["pressure"].between(1.5, 6).all()


def test_calls_come_as_many_as_asked_for_and_more_by_day(spark):
    rows = calls.calls(spark, MONDAY, 20, 200, CHANCE).toPandas()
    assert 0.85 < len(rows) / (20 * 200) < 1.15 and rows["call"].is_unique
    hours = rows["ts"].dt.hour
    assert (hours.between(13, 18)).sum() > 1.8 * (hours.between(0, 5)).sum()
    assert set(rows["type"]) == set(calls.KINDS) and set(rows["priority"]) == {1, 2, 3}
    assert rows["longitude"].between(calls.WEST, calls.EAST).all()


def test_bikes_are_counts_around_their_means_and_add_up(spark):
    rows = bikes.hires(spark, MONDAY, DAYS, 10, CHANCE).toPandas().set_index(["station", "ts"]).sort_index()
    means = bikes.means(spark, MONDAY, DAYS, 10, CHANCE).toPandas().set_index(["station", "ts"]).sort_index()
    assert (rows["casual"] + rows["registered"] == rows["total"]).all()
    mean = means["mean_casual"] + means["mean_registered"]
    assert abs(rows["total"].mean() / mean.mean() - 1) < 0.05
    assert 0.85 < ((rows["total"] - mean) ** 2 / mean).mean() < 1.15  # variance = mean, as Poisson has it


def test_burning_hours_grow_by_the_length_of_the_night_and_never_fall(spark):
    rows = lights.reports(spark, MONDAY, 4, 5, CHANCE).toPandas().sort_values(["lamp", "ts"])
    growth = rows.groupby("lamp")["hours"].diff().dropna()
    assert growth.min() == 0 and growth.max() <= 1.05
    by_lamp = rows.groupby("lamp")["hours"].agg(lambda hours: hours.iloc[-1] - hours.iloc[0]) / 4
    assert by_lamp.between(11.5, 14).all()
    assert ((rows["state"] == "off") == (rows["power"] == 0))[rows["state"] != "fault"].all()
