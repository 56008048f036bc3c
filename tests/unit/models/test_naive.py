"""Naive rules against what a table of the same rows says."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from nightmill.models.interval import Interval, Offsets
from nightmill.models.naive import (
    RULES,
    Fallback,
    LastValue,
    Mean,
    MeanLife,
    MostFrequent,
    Setting,
    TimeOfDayMean,
    Tsb,
    WindowMean,
    newest,
)

HOUR = 3_600_000_000
BERLIN = ZoneInfo("Europe/Berlin")


def micros(*when):
    return round(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000


def setting(entities=2, horizon=2, every=HOUR, zone="Europe/Berlin", cap=None):
    return Setting(entities, horizon, every, zone, cap)


def fitted(kind, code, ts, own, target, **options):
    rule = kind(setting(**options))
    half = len(code) // 2
    for part in (slice(half), slice(half, None)):
        rule.add(code[part], ts[part], own[part], target[part])
    rule.finish()
    return rule


def test_the_mean_is_the_entitys_and_that_of_all_where_it_is_unknown():
    code, ts = np.array([1, 1, 2, 2]), np.zeros(4, np.int64)
    target = np.array([0.0, 1.0, 1.0, np.nan], np.float32)
    rule = fitted(Mean, code, ts, target, target, horizon=0)
    said = rule.predict(np.array([1, 2, 0]), np.zeros(3, np.int64), np.array([9.0, 9.0, 9.0], np.float32))
    assert said.tolist() == [[0.5], [1.0], [pytest.approx(2 / 3)]]


def test_most_frequent_is_the_class_of_most_rows_of_all_entities():
    code, target = np.array([1, 1, 1, 2, 2]), np.array([2.0, 2.0, np.nan, 0.0, 2.0])
    rule = fitted(MostFrequent, code, np.arange(5), target, target, horizon=0)
    assert rule.predict(np.array([0, 1, 2]), np.arange(3), np.zeros(3)).ravel().tolist() == [2, 2, 2]


def test_last_value_repeats_and_where_there_is_none_the_entity_has_its_mean():
    code, ts = np.array([1, 1, 2, 2]), np.zeros(4, np.int64)
    target = np.array([1.0, 3.0, 10.0, np.nan])
    rule = fitted(LastValue, code, ts, target, target)
    said = rule.predict(np.array([1, 1, 2, 0]), ts, np.array([7, np.nan, np.nan, np.nan], np.float32))
    assert said.tolist() == [[7, 7], [2, 2], [10, 10], [pytest.approx(14 / 3)] * 2]


def test_time_of_day_mean_is_that_of_the_local_hour_across_daylight_saving():
    ts = np.tile(micros(2026, 3, 16) + np.arange(21 * 24) * HOUR, 2)  # the clocks go forward on the 29th
    code = np.repeat([1, 2], 21 * 24)
    target = np.random.default_rng(0).normal(50, 9, len(ts))
    target[::7] = np.nan
    rule = fitted(TimeOfDayMean, code, ts, target, target)
    local = pd.DatetimeIndex(ts.astype("datetime64[us]")).tz_localize("UTC").tz_convert(BERLIN)
    table = pd.DataFrame({"code": code, "weekend": local.weekday >= 5, "hour": local.hour, "target": target})
    means = table.groupby(["code", "weekend", "hour"])["target"].mean()
    origin = micros(2026, 3, 28, 22)
    said = rule.predict(np.array([1, 2]), np.array([origin, origin]), np.full(2, np.nan, np.float32))
    # 00:00 and 01:00 of Sunday in Berlin
    assert said == pytest.approx(np.array([[means[c, True, h] for h in (0, 1)] for c in (1, 2)]), rel=1e-5)
    everyone = table.groupby(["weekend", "hour"])["target"].mean()
    (unknown,) = rule.predict(np.array([0]), np.array([micros(2026, 3, 30, 10)]), np.full(1, np.nan, np.float32))
    assert unknown == pytest.approx([everyone[False, 13], everyone[False, 14]], rel=1e-5)


def test_mean_life_counts_down_between_nothing_and_the_cap():
    age, left = np.array([0.0, 10, 60, 0]), np.array([125.0, 90, 40, np.nan])  # the first is capped
    rule = fitted(MeanLife, np.ones(4, int), np.zeros(4, int), age, left, horizon=0, cap=125.0)
    said = rule.predict(np.zeros(4, int), np.zeros(4, int), np.array([0, 30, 200, np.nan], np.float32))
    assert said.tolist() == [[100], [70], [0], [pytest.approx(85)]]


def test_the_newest_known_value_of_a_window():
    nan = np.nan
    windows = np.array([[1, 2, 3], [1, nan, nan], [nan, 2, nan], [nan, nan, nan]], np.float32)
    assert np.array_equal(newest(windows), [3, 1, 2, nan], equal_nan=True)


def test_the_mean_of_what_is_known_in_a_window():
    nan = np.nan
    windows = np.array([[1, 2, 3], [1, nan, nan], [nan, nan, nan]], np.float32)
    assert np.array_equal(WindowMean.summary(windows), [2, 1, nan], equal_nan=True)
    rule = fitted(WindowMean, np.array([1]), np.zeros(1, int), np.array([5.0]), np.array([5.0]))
    assert rule.predict(np.array([1, 1]), np.zeros(2, int), WindowMean.summary(windows)[1:]).tolist() == [
        [1, 1],
        [5, 5],
    ]


def test_intermittent_demand_is_how_often_times_how_much():
    nan = np.nan
    windows = np.array([[0, 4, 0, 2], [0, 0, 0, 0], [nan, 4, nan, nan], [nan] * 4], np.float32)
    often, size = 0.5, 3.0
    for demand in (0, 4, 0, 2):
        often += 0.1 * ((demand > 0) - often)
        size += 0.1 * (demand - size) if demand else 0
    assert Tsb.summary(windows)[:3] == pytest.approx([often * size, 0, 4]) and np.isnan(Tsb.summary(windows)[3])
    steady = np.full((1, 30), 7, np.float32)
    assert Tsb.summary(steady).tolist() == [7]


def steps(*widths):
    none = np.zeros(0, np.float32)
    return tuple(Offsets(none, np.array([-w], np.float32), np.array([w], np.float32), (50,)) for w in widths)


@pytest.mark.parametrize("kind", sorted(RULES))
def test_what_comes_back_from_its_files_says_the_same(kind):
    code, ts = np.array([1, 2, 2, 1]), micros(2026, 3, 16) + np.arange(4) * HOUR
    rule = fitted(RULES[kind], code, ts, np.arange(4.0), np.arange(4.0), horizon=0 if kind == "mean_life" else 2)
    one = Fallback(kind, rule, Interval(0.8, steps(1) if kind == "mean_life" else steps(1, 2)))
    two = Fallback.from_json(one.to_json(), {name: array.copy() for name, array in rule.state.items()})
    asked = code, ts + 24 * HOUR, np.array([5, np.nan, 7, 8], np.float32), np.zeros(4, int)
    for first, second in zip(one.predict(*asked), two.predict(*asked), strict=True):
        assert np.array_equal(first, second) and not np.isnan(first).any()
    with pytest.raises(KeyError, match="mean"):
        Fallback.from_json(one.to_json(), {})


def test_a_value_that_is_late_has_the_interval_of_more_steps_ahead():
    target = np.array([1.0, 3.0])
    rule = fitted(LastValue, np.ones(2, int), np.zeros(2, int), target, target, horizon=3)
    fallback = Fallback("last_value", rule, Interval(0.8, steps(1, 2, 4)))
    value, lo, hi = fallback.predict(np.ones(3, int), np.zeros(3, int), np.full(3, 9, np.float32), np.array([0, 1, 99]))
    assert np.array_equal(value, np.full((3, 3), 9))
    assert (value - lo).tolist() == (hi - value).tolist() == [[1, 2, 4], [2, 4, 4], [4, 4, 4]]


def test_the_mean_that_stands_in_for_a_lost_value_has_the_widest_interval():
    target = np.array([1.0, 3.0])
    rule = fitted(LastValue, np.ones(2, int), np.zeros(2, int), target, target, horizon=3)
    fallback = Fallback("last_value", rule, Interval(0.8, steps(1, 2, 4)))
    value, lo, hi = fallback.predict(
        np.ones(1, int), np.zeros(1, int), np.full(1, np.nan, np.float32), np.zeros(1, int)
    )
    assert value.tolist() == [[2, 2, 2]] and (value - lo).tolist() == (hi - value).tolist() == [[4, 4, 4]]
