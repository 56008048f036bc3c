"""Root mean squared error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def rmse(truth: ArrayLike, value: ArrayLike) -> float:
    """sqrt(mean (value - truth)^2) in the target's unit, over known truths; NaN where none is known.

    Arrays of any equal shape. Definition: Hyndman & Koehler 2006, "Another look at measures of forecast accuracy".
    """
    t, v = known(truth, value)
    return float(np.sqrt(np.square(v - t).mean())) if t.size else float("nan")
