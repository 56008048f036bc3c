"""Learning rates as pure functions of the step, so that resuming needs no schedule state."""

from __future__ import annotations

import math
from typing import Literal

LINE = 0.05
"""Share of the steps that cosine goes up in a line."""
WARM_UP = 0.3
START, END = 1 / 25, 1 / 250_000
"""Shares of the steps and of the peak; those of torch's OneCycleLR."""


def learning_rate(schedule: Literal["constant", "one_cycle", "cosine"], peak: float, step: int, total: int) -> float:
    """The learning rate of step 0 … total - 1.

    one_cycle: Smith & Topin 2018, "Super-Convergence": up along a cosine from peak / 25 during the first 30 % of the
    steps, then down to almost nothing. cosine: Loshchilov & Hutter 2017, "SGDR", without restarts: up in a line during
    the first 5 %, then along a cosine towards 0.
    """
    if schedule == "constant" or total < 2:
        return peak
    if schedule == "cosine":
        line = max(1, math.ceil(LINE * total))
        return peak * (step + 1) / line if step < line else _cosine(peak, 0.0, (step - line) / (total - line))
    top = max(WARM_UP * total - 1, 0)
    if step < top:
        return _cosine(START * peak, peak, step / top)
    return _cosine(peak, END * peak, (step - top) / (total - 1 - top))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
