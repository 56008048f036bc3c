"""How far a distribution has moved from the one that it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri

_LEAST = 1e-4
"""Smallest share of a part: an empty one would be infinitely far."""


def psi_by_chance(expected: float, found: float, parts: int, certainty: float = 0.999) -> float:
    """What the index of two samples of one and the same distribution stays below with this certainty.

    `expected` and `found` are the numbers of values, `parts` those of the histograms. It is distributed as
    (1 / expected + 1 / found) times chi-squared with parts - 1 degrees of freedom (Yurdakul & Naranjo 2020,
    "Statistical properties of the population stability index").
    """
    return float((1 / expected + 1 / found) * chdtri(max(parts - 1, 1), 1 - certainty))


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
