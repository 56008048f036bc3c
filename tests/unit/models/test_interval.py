"""Split conformal intervals."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nightmill.models.interval import Interval, calibrate


def around(truth, value, share):
    """The interval of a model that predicts points."""
    return calibrate(truth, value, value, share)


def test_nine_residuals_give_the_first_and_the_ninth_for_eighty_percent():
    truth = np.array([[-40], [-30], [-20], [-10], [0], [10], [20], [30], [40]], np.float32)
    found = around(truth, np.zeros_like(truth), 0.8)
    assert (found.low.tolist(), found.high.tolist(), found.count) == ([-40], [40], (9,))


def test_nineteen_residuals_leave_out_the_outermost():
    truth = np.arange(-9, 10, dtype=np.float32)[:, None]
    found = around(truth, np.zeros_like(truth), 0.8)
    assert (found.low.tolist(), found.high.tolist()) == ([-8], [8])


def test_each_step_has_its_own_interval():
    truth = np.array([[-1, -100], [0, 0], [1, 100]], np.float32)
    found = around(truth, np.zeros_like(truth), 0.5)
    assert (found.low.tolist(), found.high.tolist()) == ([-1, -100], [1, 100])


def test_unknown_truths_are_left_out():
    truth = np.array([[np.nan], [-1], [1], [np.nan]], np.float32)
    found = around(truth, np.zeros_like(truth), 0.3)
    assert (found.low.tolist(), found.high.tolist(), found.count) == ([-1], [1], (2,))


def test_without_residuals_the_interval_says_nothing():
    found = around(np.array([[np.nan]], np.float32), np.zeros((1, 1), np.float32), 0.8)
    assert (found.low[0], found.high[0]) == (-np.inf, np.inf)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(19, 200), share=st.sampled_from([0.5, 0.8, 0.9]))
def test_new_values_fall_inside_at_least_as_often_as_promised(seed, n, share):
    rng = np.random.default_rng(seed)
    inside = []
    for _ in range(60):
        residuals, new = rng.gumbel(size=(n, 1)), rng.gumbel(size=50)
        found = around(residuals.astype(np.float32), np.zeros((n, 1), np.float32), share)
        inside.append(((found.low[0] <= new) & (new <= found.high[0])).mean())
    assert np.mean(inside) >= share - 0.05


def test_ends_that_cover_too_little_are_moved_outwards_and_too_much_inwards():
    truth = np.arange(-9, 10, dtype=np.float32)[:, None]
    narrow, wide = np.full_like(truth, 2), np.full_like(truth, 12)
    assert calibrate(truth, -narrow, narrow, 0.8).round(-narrow[:1], narrow[:1]) == (-8, 8)
    assert calibrate(truth, -wide, wide, 0.8).round(-wide[:1], wide[:1]) == (-8, 8)


def test_moving_inwards_never_turns_the_ends_round():
    inwards = Interval(0.8, np.array([5], np.float32), np.array([-5], np.float32), (9,))
    assert inwards.round(np.array([[0]], np.float32), np.array([[6]], np.float32)) == (5, 5)
