"""How often the class is right."""

from __future__ import annotations

from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def accuracy(truth: ArrayLike, value: ArrayLike) -> float:
    """Share of known truths that are predicted, 0 to 1; NaN where none is known.

    Classes are whole numbers; arrays of any equal shape.
    """
    t, v = known(truth, value)
    return float((v == t).mean()) if t.size else float("nan")
