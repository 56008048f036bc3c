"""Split conformal intervals."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nightmill.models.interval import calibrate


def test_nine_residuals_give_the_first_and_the_ninth_for_eighty_percent():
    truth = np.array([[-40], [-30], [-20], [-10], [0], [10], [20], [30], [40]], np.float32)
    found = calibrate(truth, np.zeros_like(truth), 0.8)
    assert (found.low.tolist(), found.high.tolist(), found.count) == ([-40], [40], (9,))


def test_nineteen_residuals_leave_out_the_outermost():
    truth = np.arange(-9, 10, dtype=np.float32)[:, None]
    found = calibrate(truth, np.zeros_like(truth), 0.8)
    assert (found.low.tolist(), found.high.tolist()) == ([-8], [8])


def test_each_step_has_its_own_interval():
    truth = np.array([[-1, -100], [0, 0], [1, 100]], np.float32)
    found = calibrate(truth, np.zeros_like(truth), 0.5)
    assert (found.low.tolist(), found.high.tolist()) == ([-1, -100], [1, 100])


def test_unknown_truths_are_left_out():
    truth = np.array([[np.nan], [-1], [1], [np.nan]], np.float32)
    found = calibrate(truth, np.zeros_like(truth), 0.3)
    assert (found.low.tolist(), found.high.tolist(), found.count) == ([-1], [1], (2,))


def test_without_residuals_the_interval_says_nothing():
    found = calibrate(np.array([[np.nan]], np.float32), np.zeros((1, 1), np.float32), 0.8)
    assert (found.low[0], found.high[0]) == (-np.inf, np.inf)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(19, 200), share=st.sampled_from([0.5, 0.8, 0.9]))
def test_new_values_fall_inside_at_least_as_often_as_promised(seed, n, share):
    rng = np.random.default_rng(seed)
    inside = []
    for _ in range(60):
        residuals, new = rng.gumbel(size=(n, 1)), rng.gumbel(size=50)
        found = calibrate(residuals.astype(np.float32), np.zeros((n, 1), np.float32), share)
        inside.append(((found.low[0] <= new) & (new <= found.high[0])).mean())
    assert np.mean(inside) >= share - 0.05
