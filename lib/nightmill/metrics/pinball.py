"""How well quantiles fit: the pinball loss, as a share of what was true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def pinball(truth: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> float:
    """Weighted quantile loss: 2 sum of pinball losses / sum of |truth|, mean over the levels; NaN where none is known.

    `truth` [...] and `quantiles` [..., levels] in the target's unit, pooled over everything. Koenker & Bassett 1978,
    "Regression Quantiles"; weighted as in Salinas et al. 2020, "DeepAR". The quantile 0 of a target that is never
    negative costs twice the mean level.
    """
    found = np.asarray(quantiles, np.float64)
    losses = []
    for number, level in enumerate(levels):
        t, q = known(truth, found[..., number])
        losses.append(np.maximum(level * (t - q), (level - 1) * (t - q)).sum())
    total = np.abs(known(truth)[0]).sum()
    return float(2 * np.mean(losses) / total) if total else float("nan")
