"""Masked mean absolute percentage error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nightmill.metrics.known import known

SMALLEST = 1e-4
"""Truths no larger than this in magnitude are left out: a percentage of nothing means nothing."""


def mape(truth: ArrayLike, value: ArrayLike) -> float:
    """100 mean |value - truth| / |truth| in %, over known truths with |truth| > SMALLEST; NaN where there is none.

    Arrays of any equal shape. The mask is that of the traffic benchmarks: Li et al. 2018, "Diffusion Convolutional
    Recurrent Neural Network" (DCRNN), whose data mark a missing speed by zero.
    """
    t, v = known(truth, value)
    large = np.abs(t) > SMALLEST
    t, v = t[large], v[large]
    return float(100 * (np.abs(v - t) / np.abs(t)).mean()) if t.size else float("nan")
