"""Looks for features that say the target outright: they were hardly known before it."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nightmill.models.shape import Shape

log = logging.getLogger(__name__)

LEAST = 20
"""Rows at least, of each class where there are two."""
APART = 0.995
"""Area under the ROC curve above which one feature tells two classes apart, and correlation that gives a number."""

Floats = NDArray[np.float32]


def warn_of_leaks(rows: Floats, shape: Shape, source: str) -> None:
    """Warns of each feature that alone all but decides the target; rows [n, feature and then the target] of training.

    Kaufman et al. 2012, "Leakage in Data Mining: Formulation, Detection, and Avoidance".
    """
    known = rows[~np.isnan(rows[:, -1])]
    for name, column in zip(shape.features, known[:, :-1].T):
        told = tells(column, known[:, -1], two_classes=shape.head == "probability")
        if told >= APART:
            log.warning(
                "%s: feature '%s' alone all but decides the target (%.3f): was it known at that time, or does it "
                "follow from the target? Leave it out if it does",
                source,
                name,
                told,
            )


def tells(column: Floats, target: Floats, two_classes: bool) -> float:
    """How well one feature tells the target: the area under the ROC curve either way, or the rank correlation.

    A missing value is one that says something, too. 0 where there are too few rows.
    """
    if two_classes:
        ranks = stats.rankdata(np.nan_to_num(column, nan=-np.inf))
        cases = target > 0.5
        many, rest = int(cases.sum()), int((~cases).sum())
        if min(many, rest) < LEAST:
            return 0.0
        area = (ranks[cases].sum() - many * (many + 1) / 2) / (many * rest)
        return float(max(area, 1 - area))
    both = ~np.isnan(column)
    if both.sum() < LEAST or np.ptp(column[both]) == 0 or np.ptp(target[both]) == 0:
        return 0.0
    return float(abs(stats.spearmanr(column[both], target[both]).statistic))
