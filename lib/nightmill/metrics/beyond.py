"""How far values lie beyond what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def beyond(value: NDArray[Any], below: float | None, above: float | None) -> NDArray[Any]:
    """1 at a limit, 1.5 half of the limit beyond it (of 1 where the limit is 0), less than 1 within; same shape.

    `below` is the least value that is allowed, `above` the greatest; one of them at least. NaN where the value is.
    """
    under, over = (
        None if limit is None else 1 + sign * (value - limit) / (abs(limit) or 1.0)
        for limit, sign in ((below, -1), (above, 1))
    )
    if under is None or over is None:
        found = over if under is None else under
        assert found is not None
        return found
    return np.maximum(under, over)
