"""Which values a metric may look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def known(truth: ArrayLike, *values: ArrayLike) -> Sequence[Floats]:
    """`truth` and `values` as flat float64 arrays, without the places where the truth is unknown (NaN).

    Raises ValueError where the shapes differ: broadcasting would silently compare the wrong pairs.
    """
    arrays: list[NDArray[Any]] = [np.asarray(array, dtype=np.float64) for array in (truth, *values)]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ValueError(f"truth and values must have one shape, not {' and '.join(map(str, sorted(shapes)))}")
    keep = ~np.isnan(arrays[0])
    return [array[keep] for array in arrays]
