"""How often an alarm is raised where nothing is wrong."""

from __future__ import annotations

from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def false_alarm_rate(truth: ArrayLike, value: ArrayLike, threshold: float) -> float:
    """Share of the truths of 0 whose value is at or above the threshold; 0 is perfect.

    `truth` is 0 or 1; arrays of any equal shape. NaN where no known truth is 0.
    """
    t, v = known(truth, value)
    normal = t == 0
    return float((v[normal] >= threshold).mean()) if normal.any() else float("nan")


def missed_alarm_rate(truth: ArrayLike, value: ArrayLike, threshold: float) -> float:
    """Share of the truths of 1 whose value is below the threshold; 0 is perfect.

    `truth` is 0 or 1; arrays of any equal shape. NaN where no known truth is 1.
    """
    t, v = known(truth, value)
    return float((v[t == 1] < threshold).mean()) if (t == 1).any() else float("nan")
