"""Precision and recall of alarms in one figure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def f1(truth: ArrayLike, value: ArrayLike, threshold: float) -> float:
    """2 hits / (alarms + cases), where an alarm is a value at or above the threshold; 1 is perfect, 0 where none hits.

    `truth` is 0 or 1; arrays of any equal shape. NaN where no truth is known or none is 1. van Rijsbergen 1979,
    "Information Retrieval".
    """
    t, v = known(truth, value)
    alarm = v >= threshold
    return float(2 * t[alarm].sum() / (alarm.sum() + t.sum())) if t.sum() else float("nan")


def best_threshold(truth: ArrayLike, value: ArrayLike) -> float:
    """The threshold of the greatest `f1`, half-way to the next value below; infinite where no truth is 1."""
    t, v = known(truth, value)
    if not t.sum():
        return float("inf")
    order = np.argsort(-v, kind="stable")
    t, v = t[order], v[order]
    last = np.flatnonzero(np.append(np.diff(v) != 0, True))
    score = 2 * np.cumsum(t)[last] / (last + 1 + t.sum())
    best = int(last[score.argmax()])
    return float(v[best] if best + 1 == len(v) else (v[best] + v[best + 1]) / 2)
