"""Area under the curve of precision over recall."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nightmill.metrics.known import known


def pr_auc(truth: ArrayLike, value: ArrayLike) -> float:
    """Average precision: the sum over recalls of the precision there, values that tie taken together; 1 is perfect.

    `truth` is 0 or 1, `value` any number that is larger the likelier 1 is; arrays of any equal shape. NaN where no
    truth is known or none is 1. By chance it is the share of 1. Definition: Davis & Goadrich 2006, "The Relationship
    Between Precision-Recall and ROC Curves", without their interpolation.
    """
    t, v = known(truth, value)
    if not t.sum():
        return float("nan")
    order = np.argsort(-v, kind="stable")
    found, last = np.cumsum(t[order]), np.append(np.diff(v[order]) != 0, True)
    found, asked = found[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) * found / asked).sum() / t.sum())
