"""Prediction intervals by split conformal calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Interval:
    """Offsets that turn a prediction into an interval: lo = value + low, hi = value + high."""

    share: float
    """Share of truths that should fall inside."""
    low: Array
    """[steps] in the target's unit, usually negative."""
    high: Array
    """[steps] in the target's unit."""
    count: tuple[int, ...]
    """Known validation residuals per step that the offsets rest on."""


def calibrate(truth: Array, value: Array, share: float) -> Interval:
    """The interval per step from validation rows that the weights were not fitted to.

    `truth` and `value` [n, steps], NaN truths ignored. With n residuals truth - value, sorted, and a = 1 - share, low
    is the floor((n + 1) a / 2)-th and high the ceil((n + 1)(1 - a / 2))-th: the finite-sample correction of Lei et al.
    2018, "Distribution-Free Predictive Inference for Regression". Where n is too small for that rank, the outermost
    residual stands in and the interval covers less than it should; with no residual at all it is infinite.
    """
    residuals = truth.astype(np.float64) - value
    low, high, counts = [], [], []
    for column in residuals.T:
        known = np.sort(column[~np.isnan(column)])
        n = len(known)
        counts.append(n)
        if n == 0:
            low.append(-np.inf)
            high.append(np.inf)
            continue
        # the ranks of a share such as 0.8 are whole numbers that floating point misses by 1e-15
        below = int(np.floor((n + 1) * (1 - share) / 2 + 1e-9))
        above = int(np.ceil((n + 1) * (1 + share) / 2 - 1e-9))
        low.append(known[max(below, 1) - 1])
        high.append(known[min(above, n) - 1])
    return Interval(share, np.asarray(low, np.float32), np.asarray(high, np.float32), tuple(counts))
