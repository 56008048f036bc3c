"""Training losses over the known targets, in units of the target's standard deviation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Loss = Literal["mae", "mse", "huber"]


def sums(name: Loss, value: Tensor, y: Tensor, weight: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """(sum of weight * loss over known targets, sum of their weights), both scalars; the mean is their quotient.

    `value` and `y` [b, steps] in the target's unit, NaN in y = unknown; `weight` [b]; `scale` the target's standard
    deviation, by which errors are divided so that learning rate and clipping mean the same for every target.
    Sums, not a mean: added over ranks they give a loss that does not depend on how samples are spread.
    """
    each, weights = per_value(name, value, y, weight, scale)
    return each.sum(), weights.sum()


def per_value(name: Loss, value: Tensor, y: Tensor, weight: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """(weight * loss, weight) of every value, both [b, steps]; the arguments are those of `sums`."""
    known = ~y.isnan()
    error = (value.float() - torch.where(known, y, value.detach().float())) / scale
    weights = weight.unsqueeze(1) * known
    if name == "mae":
        each = error.abs()
    elif name == "mse":
        each = error.square()
    else:
        each = functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=1.0)
    # a sample of weight 0 is padding: whatever the model makes of it must not turn the sum into NaN
    return torch.where(weights > 0, each * weights, 0.0), weights
