"""The asymmetric score of remaining-life predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nightmill.metrics.known import known

EARLY, LATE = 13.0, 10.0
"""Steps by which a prediction may be too early or too late until its penalty is e - 1."""


def nasa_score(truth: ArrayLike, value: ArrayLike) -> float:
    """Sum over known truths of exp(-d / 13) - 1 for d < 0 and exp(d / 10) - 1 otherwise, d = value - truth.

    Lower is better, 0 is perfect; promising too long a life (d > 0) costs more than a part changed too early. A sum,
    not a mean: comparable only on the same set of entities. Arrays of any equal shape, in steps (flight cycles).
    Source: Saxena et al. 2008, "Damage Propagation Modeling for Aircraft Engine Run-to-Failure Simulation" (PHM08).
    """
    t, v = known(truth, value)
    d = v - t
    return float(np.expm1(np.where(d < 0, -d / EARLY, d / LATE)).sum())
