"""How many cases are found when only so many alarms may be raised."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def recall(truth: ArrayLike, value: ArrayLike, budget: float) -> float:
    """Share of the cases among the `budget` (share of all) with the largest values, 0 to 1.

    Of values that tie at the edge of the budget each counts in part, as a draw among them would find. `truth` is 0 or
    1; arrays of any equal shape. NaN where no truth is known or none is 1.
    """
    t, v = known(truth, value)
    if not t.sum():
        return float("nan")
    most = max(1, int(len(v) * budget))
    edge = np.sort(v)[-most]
    above, at = v > edge, v == edge
    return float((t[above].sum() + t[at].sum() * (most - above.sum()) / at.sum()) / t.sum())
