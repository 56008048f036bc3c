"""Split conformal intervals."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightmill.models.interval import LEAST, LEVELS, Interval, Offsets, calibrate


def around(truth, value, share):
    """The interval of a model that predicts points."""
    return calibrate(truth, value, value, share)


def ends(found):
    """(low, high) of the only level, by step."""
    return [step.low.item() for step in found.steps], [step.high.item() for step in found.steps]


def test_nine_residuals_give_the_first_and_the_ninth_for_eighty_percent():
    truth = np.array([[-40], [-30], [-20], [-10], [0], [10], [20], [30], [40]], np.float32)
    found = around(truth, np.zeros_like(truth), 0.8)
    assert (ends(found), found.steps[0].count) == (([-40], [40]), (9,))


def test_nineteen_residuals_leave_out_the_outermost():
    truth = np.arange(-9, 10, dtype=np.float32)[:, None]
    found = around(truth, np.zeros_like(truth), 0.8)
    assert ends(found) == ([-8], [8])


def test_each_step_has_its_own_interval():
    truth = np.array([[-1, -100], [0, 0], [1, 100]], np.float32)
    found = around(truth, np.zeros_like(truth), 0.5)
    assert ends(found) == ([-1, -100], [1, 100])


def test_the_interval_of_a_point_holds_the_point():
    truth = np.arange(1, 20, dtype=np.float32)[:, None]
    assert ends(around(truth, np.zeros_like(truth), 0.8)) == ([0], [18])
    assert ends(around(-truth, np.zeros_like(truth), 0.8)) == ([-18], [0])


def test_unknown_truths_are_left_out():
    truth = np.array([[np.nan], [-1], [1], [np.nan]], np.float32)
    found = around(truth, np.zeros_like(truth), 0.3)
    assert (ends(found), found.steps[0].count) == (([-1], [1]), (2,))


def test_without_residuals_the_interval_says_nothing():
    found = around(np.array([[np.nan]], np.float32), np.zeros((1, 1), np.float32), 0.8)
    assert ends(found) == ([-np.inf], [np.inf])


def test_where_there_is_none_its_ends_are_unknown_and_stay_so():
    absent = Interval.from_json(json.loads(json.dumps(Interval.absent(0.8, 2).to_json())))
    lo, hi = absent.round(*[np.full((3, 2), 0.4, np.float32)] * 2)
    assert np.isnan(lo).all() and np.isnan(hi).all()


def offsets(edges, low, high, count):
    return Offsets(*(np.array(values, np.float32) for values in (edges, low, high)), count)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(19, 200), share=st.sampled_from([0.5, 0.8, 0.9]))
def test_new_values_fall_inside_at_least_as_often_as_promised(seed, n, share):
    rng = np.random.default_rng(seed)
    inside = []
    for _ in range(60):
        residuals, new = rng.gumbel(size=(n, 1)), rng.gumbel(size=50)
        (low,), (high,) = ends(around(residuals.astype(np.float32), np.zeros((n, 1), np.float32), share))
        inside.append(((low <= new) & (new <= high)).mean())
    assert np.mean(inside) >= share - 0.05


def test_ends_that_cover_too_little_are_moved_outwards_and_too_much_inwards():
    truth = np.arange(-9, 10, dtype=np.float32)[:, None]
    narrow, wide = np.full_like(truth, 2), np.full_like(truth, 12)
    assert calibrate(truth, -narrow, narrow, 0.8).round(-narrow[:1], narrow[:1]) == (-8, 8)
    assert calibrate(truth, -wide, wide, 0.8).round(-wide[:1], wide[:1]) == (-8, 8)


def test_moving_inwards_never_turns_the_ends_round():
    inwards = Interval(0.8, (offsets([], [5], [-5], (9,)),))
    assert inwards.round(np.array([[0]], np.float32), np.array([[6]], np.float32)) == (5, 5)


def growing(n, seed):
    """(truth, value) [n, 1] with errors in proportion to the value."""
    rng = np.random.default_rng(seed)
    value = rng.uniform(1, 100, (n, 1)).astype(np.float32)
    return value * (1 + 0.1 * rng.normal(size=(n, 1)).astype(np.float32)), value


def test_a_points_interval_is_as_wide_as_errors_are_at_its_level():
    interval = around(*growing(20_000, 0), 0.8)
    assert [len(step.low) for step in interval.steps] == [LEVELS]
    truth, value = growing(20_000, 1)
    lo, hi = interval.round(value, value)
    for low, high in ((1, 20), (20, 50), (50, 100)):
        here = (low <= value) & (value < high)
        assert ((lo <= truth) & (truth <= hi))[here].mean() == pytest.approx(0.8, abs=0.02)
    slow, fast = value < 11, value > 90
    assert (hi - lo)[slow].mean() * 8 < (hi - lo)[fast].mean()


def test_coverage_holds_where_other_levels_become_frequent():
    interval = around(*growing(20_000, 0), 0.8)
    truth, value = growing(20_000, 1)
    high = value[:, 0] > 70
    lo, hi = interval.round(value[high], value[high])
    assert ((lo <= truth[high]) & (truth[high] <= hi)).mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("n", "levels"), [(0, 1), (2 * LEAST - 1, 1), (2 * LEAST, 2), (4 * LEAST + 7, 4), (5000, LEVELS)]
)
def test_a_level_rests_on_enough_residuals(n, levels):
    step = around(*growing(n, 0), 0.8).steps[0]
    assert len(step.count) == levels and sum(step.count) == n and (n < LEAST or min(step.count) >= LEAST)
    assert (np.diff(step.edges) > 0).all()


@pytest.mark.parametrize(("share", "levels"), [(0.8, 10), (0.95, 10), (0.99, 5), (0.999, 1)])
def test_a_level_has_enough_residuals_to_tell_the_ends_of_its_share(share, levels):
    rng, inside = np.random.default_rng(0), []
    for _ in range(40):
        value = rng.uniform(0, 100, (1000, 1)).astype(np.float32)
        interval = around(value + rng.normal(size=value.shape).astype(np.float32), value, share)
        assert len(interval.steps[0].count) == levels
        new = rng.uniform(0, 100, (4000, 1)).astype(np.float32)
        lo, hi = interval.round(new, new)
        truth = new + rng.normal(size=new.shape).astype(np.float32)
        inside.append(((lo <= truth) & (truth <= hi)).mean())
    assert np.mean(inside) == pytest.approx(share, abs=0.012)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 700), values=st.integers(1, 12))
def test_a_frequent_value_stays_in_one_level(seed, n, values):
    rng = np.random.default_rng(seed)
    value = (rng.integers(0, values, (n, 1)) ** 2).astype(np.float32)
    step = around(value + rng.normal(size=value.shape).astype(np.float32), value, 0.8).steps[0]
    assert sum(step.count) == n and (len(step.count) == 1 or min(step.count) >= LEAST)
    assert len(step.edges) + 1 == len(step.low) == len(step.high) == len(step.count)


def test_plain_values_bring_the_interval_back():
    first = Interval(0.8, (offsets([3], [-1, -np.inf], [2, np.inf], (60, 0)), offsets([], [-5], [4], (9,))))
    second = Interval.from_json(json.loads(json.dumps(first.to_json(), allow_nan=False)))
    ends = np.array([[1, 1], [3, 3], [7, 7]], np.float32)
    assert second.share == first.share and [step.count for step in second.steps] == [(60, 0), (9,)]
    for before, after in zip(first.round(ends, ends), second.round(ends, ends), strict=True):
        assert np.array_equal(before, after)
    assert first.round(ends, ends)[1].tolist() == [[3, 5], [np.inf, 7], [np.inf, 11]]
