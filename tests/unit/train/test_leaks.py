"""A feature that says the target outright is told; one that only helps is not."""

import logging

import numpy as np
import pytest

from nightmill.models.shape import Shape
from nightmill.train.leaks import tells, warn_of_leaks

DRAWS = np.random.default_rng(0)
CASES = (DRAWS.uniform(size=500) < 0.1).astype(np.float32)


def shape(head="point"):
    return Shape(("heat", "cause"), 1, 0, True, 0, None, every=60, head=head)


def warned(caplog, heat, cause, target, head):
    with caplog.at_level(logging.WARNING):
        warn_of_leaks(np.stack([heat, cause, target], axis=1).astype(np.float32), shape(head), "gold")
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_label_that_was_written_after_the_fact_is_told_by_name(caplog, sign):
    (said,) = warned(caplog, DRAWS.normal(size=500) + CASES, sign * CASES, CASES, "probability")
    assert "feature 'cause' alone" in said and "gold" in said


def test_a_value_that_is_only_there_after_the_fact_is_told(caplog):
    repaired = np.where(CASES > 0, 7.0, np.nan)
    (said,) = warned(caplog, DRAWS.normal(size=500), repaired, CASES, "probability")
    assert "'cause'" in said


def test_a_number_in_another_unit_is_told(caplog):
    target = DRAWS.normal(size=500)
    (said,) = warned(caplog, target + DRAWS.normal(size=500), 1.8 * target + 32, target, "point")
    assert "'cause'" in said


def test_a_good_feature_is_none_and_few_rows_say_nothing(caplog):
    helps = DRAWS.normal(size=500) + 3 * CASES
    assert not warned(caplog, helps, helps, CASES, "probability")
    assert not warned(caplog, CASES[:15], CASES[:15], CASES[:15], "probability")


def test_the_area_is_that_of_the_pairs_in_order():
    column, target = np.array([3, 1, 2] * 20, np.float32), np.array([1, 0, 0] * 20, np.float32)
    assert tells(column, target, two_classes=True) == 1.0
    column[::3] = 1.5
    pairs = [(a > b) + 0.5 * (a == b) for a in column[target > 0] for b in column[target == 0]]
    assert tells(column, target, two_classes=True) == pytest.approx(max(np.mean(pairs), 1 - np.mean(pairs)))
