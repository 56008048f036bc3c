"""How far a distribution has moved from the one that it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_LEAST = 1e-4
"""Smallest share of a part: an empty one would be infinitely far."""


def psi(expected: ArrayLike, found: ArrayLike) -> float:
    """Population stability index of two histograms over the same parts: 0 where they are alike.

    `expected` and `found` are counts or shares, [parts]. NaN where one of them is empty. Siddiqi 2006, "Credit Risk
    Scorecards", calls a shift below 0.1 small and one above 0.25 large.
    """
    before, now = (np.asarray(counts, float) for counts in (expected, found))
    if not before.sum() or not now.sum():
        return float("nan")
    before, now = (np.maximum(counts / counts.sum(), _LEAST) for counts in (before, now))
    return float(((now - before) * np.log(now / before)).sum())
