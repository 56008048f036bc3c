"""Mean absolute error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def mae(truth: ArrayLike, value: ArrayLike) -> float:
    """mean |value - truth| in the target's unit, over known truths; NaN where none is known.

    Arrays of any equal shape. Definition: Hyndman & Koehler 2006, "Another look at measures of forecast accuracy".
    """
    t, v = known(truth, value)
    return float(np.abs(v - t).mean()) if t.size else float("nan")
