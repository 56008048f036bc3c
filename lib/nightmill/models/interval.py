"""Prediction intervals by split conformal calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Interval:
    """Offsets that widen (or narrow) what the head expects into an interval: lo = its lower end + low, and so hi."""

    share: float
    """Share of truths that should fall inside."""
    low: Array
    """[steps] in the target's unit, usually negative where the head gives a point."""
    high: Array
    """[steps] in the target's unit."""
    count: tuple[int, ...]
    """Known validation residuals per step that the offsets rest on."""

    def round(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """(lo, hi) [n, steps] of what the head expects; narrowing never turns the ends round."""
        lo = lower + self.low
        return lo, np.maximum(upper + self.high, lo)


def calibrate(truth: Array, lower: Array, upper: Array, share: float) -> Interval:
    """The interval per step from validation rows that the weights were not fitted to.

    `truth` and the ends that the head expects, `lower` and `upper`, all [n, steps]; NaN truths are ignored, and of a
    point both ends are the prediction. With n residuals from the ends, sorted, and a = 1 - share, low is the
    floor((n + 1) a / 2)-th from the lower end and high the ceil((n + 1)(1 - a / 2))-th from the upper: Lei et al.
    2018, "Distribution-Free Predictive Inference for Regression", for a point, and Romano, Patterson & Candès 2019,
    "Conformalized Quantile Regression", for quantiles. Where n is too small for that rank, the outermost residual
    stands in and the interval covers less than it should; with no residual at all it is infinite.
    """
    low, high, counts = [], [], []
    for from_lower, from_upper in zip((truth.astype(np.float64) - lower).T, (truth.astype(np.float64) - upper).T):
        n = int((~np.isnan(from_lower)).sum())
        counts.append(n)
        # the ranks of a share such as 0.8 are whole numbers that floating point misses by 1e-15
        below = int(np.floor((n + 1) * (1 - share) / 2 + 1e-9))
        above = int(np.ceil((n + 1) * (1 + share) / 2 - 1e-9))
        low.append(np.sort(from_lower)[max(below, 1) - 1] if n else -np.inf)
        high.append(np.sort(from_upper)[min(above, n) - 1] if n else np.inf)
    return Interval(share, np.asarray(low, np.float32), np.asarray(high, np.float32), tuple(counts))
