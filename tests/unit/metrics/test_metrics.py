"""Literal tables in, figures that a reader can check in the head out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightmill.metrics import (
    METRICS,
    accuracy,
    best_threshold,
    coverage,
    f1,
    mae,
    mape,
    nasa_score,
    pr_auc,
    recall,
    rmse,
)

NAN = float("nan")


def said(name, value):
    """Values as the metric takes them: of quantiles the median alone."""
    value = np.asarray(value, float)
    return value[..., None] if METRICS[name].takes == "levels" else value


ERRORS = sorted(name for name, metric in METRICS.items() if not metric.higher)
SUCCESSES = sorted(name for name, metric in METRICS.items() if metric.higher)


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


def test_pr_auc_is_the_mean_precision_at_each_case_found():
    # found at ranks 1, 3 and 6: precisions 1, 2/3 and 3/6
    assert pr_auc([1, 0, 1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]) == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)


def test_pr_auc_of_values_that_tie_is_the_share_of_cases():
    assert pr_auc([1, 0, 0, 0], [0.5] * 4) == 0.25


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1))
def test_pr_auc_is_the_one_that_everybody_computes(rows):
    from sklearn.metrics import average_precision_score

    truth, value = (np.array(column, float) for column in zip(*rows))
    if truth.any():
        assert pr_auc(truth, value) == pytest.approx(average_precision_score(truth, value))


def test_f1_weighs_hits_against_alarms_and_cases():
    # three alarms, two of them right, of four cases: precision 2/3, recall 2/4
    truth, value = [1, 1, 1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1, 0.7, 0.0]
    assert f1(truth, value, 0.5) == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1))
def test_no_other_threshold_has_a_greater_f1(rows):
    truth, value = (np.array(column, float) for column in zip(*rows))
    if truth.any():
        best = f1(truth, value, best_threshold(truth, value))
        assert best == max(f1(truth, value, threshold) for threshold in value)


def test_the_best_threshold_lies_between_what_is_an_alarm_and_what_is_none():
    assert best_threshold([1, 0], [0.9, 0.3]) == pytest.approx(0.6)
    assert best_threshold([0, 0], [0.9, 0.3]) == math.inf


def test_recall_is_what_so_many_alarms_find():
    truth, value = [0, 1, 0, 1, 0, 0, 0, 0, 0, 1], np.linspace(1, 0, 10)
    assert recall(truth, value, 0.2) == pytest.approx(1 / 3)
    assert recall(truth, value, 0.4) == pytest.approx(2 / 3)
    assert recall(truth, value, 1.0) == 1.0


def test_recall_draws_among_values_that_tie():
    assert recall([1, 1, 0, 0], [0.5] * 4, 0.25) == 0.25


def test_accuracy_is_the_share_of_classes_that_are_right():
    assert accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75


def test_a_better_figure_is_a_smaller_error_or_a_greater_success_and_nan_is_none():
    assert METRICS["mae"].better(1, 2) and not METRICS["mae"].better(2, 1)
    assert METRICS["f1"].better(0.9, 0.8) and not METRICS["f1"].better(0.8, 0.9)
    assert not METRICS["f1"].better(NAN, 0.1) and not METRICS["mae"].better(NAN, 0.1)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_an_unknown_truth_changes_no_metric(name):
    truth, value = np.array([[1.0, 0.0]]), np.array([[0.8, 0.7]])
    more_truth, more_value = np.array([[1.0, 0.0], [NAN, NAN]]), np.array([[0.8, 0.7], [5.0, NAN]])
    assert METRICS[name](more_truth, said(name, more_value)) == METRICS[name](truth, said(name, value))


@pytest.mark.parametrize("name", ERRORS)
def test_a_perfect_prediction_has_no_error(name):
    perfect = [[0.0, 1.0]] if METRICS[name].takes else [[3.0, 4.0]]
    assert METRICS[name](perfect, said(name, perfect)) == 0.0


@pytest.mark.parametrize("name", SUCCESSES)
def test_a_perfect_prediction_is_a_whole_success(name):
    assert METRICS[name]([[0.0, 1.0]], [[0.0, 1.0]], budget=0.5) == 1.0


@pytest.mark.parametrize("name", sorted({*METRICS} - {"nasa_score"}))  # a sum over none is 0
def test_no_known_truth_gives_no_figure(name):
    assert math.isnan(METRICS[name]([NAN], said(name, [1.0])))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_shapes_that_would_only_broadcast_are_refused(name):
    with pytest.raises(ValueError, match="one shape"):
        METRICS[name](np.ones((3, 1)), said(name, np.ones((1, 3))))


def test_an_unknown_prediction_of_a_known_truth_is_not_hidden():
    assert math.isnan(mae([1.0, 2.0], [1.0, NAN]))
