"""Literal tables in, figures that a reader can check in the head out."""

import math

import numpy as np
import pytest

from nightmill.metrics import METRICS, coverage, mae, mape, nasa_score, rmse

NAN = float("nan")


def test_mae_is_the_mean_distance():
    assert mae([10, 20, 30], [11, 18, 30]) == 1.0


def test_rmse_weighs_large_errors_more():
    assert rmse([0, 0], [3, 4]) == pytest.approx(math.sqrt(12.5))


def test_mape_is_in_percent_and_leaves_out_truths_of_nothing():
    assert mape([100, 50, 0, 1e-5], [110, 45, 7, 7]) == pytest.approx(10.0)


def test_nasa_score_punishes_a_late_warning_more_than_an_early_one():
    early, late = nasa_score([50], [40]), nasa_score([50], [60])
    assert early == pytest.approx(math.exp(10 / 13) - 1)
    assert late == pytest.approx(math.exp(10 / 10) - 1)
    assert late > early


def test_nasa_score_is_a_sum():
    assert nasa_score([50, 50], [60, 60]) == pytest.approx(2 * nasa_score([50], [60]))


def test_coverage_counts_both_ends_of_the_interval():
    assert coverage([1, 2, 3, 4], [1, 0, 4, 0], [2, 2, 5, 3]) == 0.5


@pytest.mark.parametrize("name", sorted(METRICS))
def test_an_unknown_truth_changes_no_metric(name):
    truth, value = np.array([[10.0, 20.0]]), np.array([[12.0, 19.0]])
    more_truth, more_value = np.array([[10.0, 20.0], [NAN, NAN]]), np.array([[12.0, 19.0], [5.0, NAN]])
    assert METRICS[name](more_truth, more_value) == METRICS[name](truth, value)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_perfect_prediction_scores_nothing(name):
    assert METRICS[name]([[3.0, 4.0]], [[3.0, 4.0]]) == 0.0


@pytest.mark.parametrize("name", ["mae", "rmse", "mape"])
def test_no_known_truth_gives_no_figure(name):
    assert math.isnan(METRICS[name]([NAN], [1.0]))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_shapes_that_would_only_broadcast_are_refused(name):
    with pytest.raises(ValueError, match="one shape"):
        METRICS[name](np.ones((3, 1)), np.ones((1, 3)))


def test_an_unknown_prediction_of_a_known_truth_is_not_hidden():
    assert math.isnan(mae([1.0, 2.0], [1.0, NAN]))
