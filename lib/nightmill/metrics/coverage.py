"""How often the truth lies in its interval."""

from __future__ import annotations

from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def coverage(truth: ArrayLike, lo: ArrayLike, hi: ArrayLike) -> float:
    """Share of known truths with lo <= truth <= hi, 0 to 1; NaN where none is known.

    Arrays of any equal shape, all in the target's unit. Compare with the interval's nominal share: Gneiting, Balabdaoui
    & Raftery 2007, "Probabilistic forecasts, calibration and sharpness".
    """
    t, low, high = known(truth, lo, hi)
    return float(((low <= t) & (t <= high)).mean()) if t.size else float("nan")
