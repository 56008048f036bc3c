"""How often alarms are false, and how often they are missed."""

import math

import pytest

from nightmill.metrics import METRICS, false_alarm_rate, missed_alarm_rate

NAN = float("nan")


def test_shares_are_of_what_was_normal_and_of_what_was_not() -> None:
    truth, value = [0, 0, 0, 0, 1, 1, NAN], [0.2, 1.0, 0.9, 3.0, 1.0, 0.5, 9.0]
    assert false_alarm_rate(truth, value, 1.0) == pytest.approx(2 / 4)
    assert missed_alarm_rate(truth, value, 1.0) == pytest.approx(1 / 2)


def test_of_nothing_there_is_no_share() -> None:
    assert math.isnan(false_alarm_rate([1, 1], [0, 2], 1.0)) and math.isnan(missed_alarm_rate([0, 0], [0, 2], 1.0))


def test_fewer_are_better() -> None:
    assert METRICS["false_alarm_rate"].better(0.1, 0.2) and METRICS["missed_alarm_rate"].better(0.1, 0.2)
