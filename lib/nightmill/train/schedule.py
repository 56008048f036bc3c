"""Learning rates as pure functions of the step, so that resuming needs no schedule state."""

from __future__ import annotations

import math
from typing import Literal

WARM_UP = 0.3
START, END = 1 / 25, 1 / 250_000
"""Shares of the steps and of the peak; those of torch's OneCycleLR."""


def learning_rate(schedule: Literal["constant", "one_cycle"], peak: float, step: int, total: int) -> float:
    """The learning rate of step 0 … total - 1.

    one_cycle: Smith & Topin 2018, "Super-Convergence": up along a cosine from peak / 25 during the first 30 % of the
    steps, then down to almost nothing.
    """
    if schedule == "constant" or total < 2:
        return peak
    top = max(WARM_UP * total - 1, 0)
    if step < top:
        return _cosine(START * peak, peak, step / top)
    return _cosine(peak, END * peak, (step - top) / (total - 1 - top))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
