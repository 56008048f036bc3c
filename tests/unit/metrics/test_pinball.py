"""The pinball loss as a share of what was true."""

import numpy as np
import pytest

from nightmill.metrics import METRICS, pinball


def test_of_the_median_it_is_the_absolute_error_as_a_share():
    truth = np.array([[4.0, 0.0], [6.0, np.nan]])
    quantiles = np.array([[[3.0], [1.0]], [[9.0], [5.0]]])
    assert pinball(truth, quantiles, [0.5]) == pytest.approx((1 + 1 + 3) / 10)


def test_too_low_costs_the_level_and_too_high_the_rest():
    assert pinball([10.0], [[0.0, 20.0]], [0.9, 0.9]) == pytest.approx(2 * (0.9 * 10 + 0.1 * 10) / 2 / 10)
    assert pinball([5.0, 1.0], np.zeros((2, 5)), [0.5, 0.8, 0.9, 0.95, 0.99]) == pytest.approx(2 * 0.828)


def test_nothing_known_and_nothing_true_is_no_number():
    assert np.isnan(pinball([np.nan], [[1.0]], [0.5])) and np.isnan(pinball([0.0], [[1.0]], [0.5]))


def test_the_true_quantiles_are_best():
    rng = np.random.default_rng(0)
    truth, levels = rng.normal(10, 1, 20_000), [0.1, 0.5, 0.9]
    right = np.tile(np.quantile(truth, levels), (len(truth), 1))
    best = METRICS["pinball"](truth, right, levels=levels)
    assert all(best < METRICS["pinball"](truth, right + np.array(off), levels=levels)
               for off in ([0.3, 0, 0], [0, 0.3, 0], [0, 0, -0.3]))  # fmt: skip
