"""Training losses over the known targets, by name. Each fits one head; see `nightmill.models.heads`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from nightmill.models.network import Network

HEAD_OF = {
    "quantile": "quantiles",
    "poisson": "poisson",
    "negative_binomial": "negative_binomial",
    "bce": "probability",
    "focal": "probability",
    "cross_entropy": "classes",
    "residual": "anomaly",
}
"""Loss -> the head whose parameters it reads; a point for all others."""
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "poisson": (0.0, None),
    "negative_binomial": (0.0, None),
    "bce": (0.0, 1.0),
    "focal": (0.0, 1.0),
    "cross_entropy": (0.0, None),
    "residual": (0.0, None),
}
"""Loss -> least and greatest target that it is defined for."""
FOCUS = 2.0
"""Focal loss: the power by which what is already right counts less."""


def sums(
    name: str,
    network: Network,
    parameters: Tensor,
    y: Tensor,
    weight: Tensor,
    classes: Tensor | None = None,
    over: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """(sum of weight * loss over known targets, sum of their weights), both scalars; the mean is their quotient.

    `parameters` [b, steps, width] are what the network gave, `y` [b, steps] is in the target's unit, NaN = unknown,
    `weight` [b], `classes` how much each class counts, all alike without it, `over` how many times as much the loss of
    a prediction above the truth counts. Errors are in units of the target's standard deviation, so that learning rate
    and clipping mean the same for every target; likelihoods are in nats.
    Sums, not a mean: added over ranks they give a loss that does not depend on how samples are spread.
    """
    each, weights = per_value(name, network, parameters, y, weight, classes, over)
    return each.sum(), weights.sum()


def per_value(
    name: str,
    network: Network,
    parameters: Tensor,
    y: Tensor,
    weight: Tensor,
    classes: Tensor | None = None,
    over: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """(weight * loss, weight) of every value, both [b, steps]; the arguments are those of `sums`."""
    known = ~(y > 0) if name == "residual" else ~y.isnan()  # normal is learnt of all that is not known to be a fault
    # whatever stands for an unknown target must be one that the loss is defined for
    y = torch.where(known, y, network.head.value(parameters).detach())
    each = LOSSES[name](network, parameters, y)
    if over != 1:
        each = each * torch.where(network.head.value(parameters) > y, over, 1.0)
    weights = weight.unsqueeze(1) * known
    if classes is not None:
        weights = weights * classes[y.round().long()]
    # a sample of weight 0 is padding: whatever the model makes of it must not turn the sum into NaN
    return torch.where(weights > 0, each * weights, 0.0), weights


def _mae(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    return _errors(network, parameters, y).abs()


def _mse(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    return _errors(network, parameters, y).square()


def _huber(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    errors = _errors(network, parameters, y)
    return functional.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=1.0)


def _errors(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    return (network.head.value(parameters) - y) / network.target_std


def _quantile(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    """Twice the mean pinball loss over the levels, which for the median alone is the absolute error."""
    levels = parameters.new_tensor(network.shape.levels)
    short = (y.unsqueeze(2) - parameters) / network.target_std
    return 2 * torch.maximum(levels * short, (levels - 1) * short).mean(dim=2)


def _poisson(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    rate = parameters[..., 0]
    return rate - torch.xlogy(y, rate) + torch.lgamma(y + 1)


def _negative_binomial(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    mean, size = parameters[..., 0], 1 / parameters[..., 1]
    ways = torch.lgamma(y + size) - torch.lgamma(size) - torch.lgamma(y + 1)
    return (size + y) * torch.log1p(mean / size) - torch.xlogy(y, mean / size) - ways


def _bce(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(parameters[..., 0], y, reduction="none")


def _focal(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    """Lin et al. 2017, "Focal Loss for Dense Object Detection"."""
    loss = _bce(network, parameters, y)
    return (1 - torch.exp(-loss)) ** FOCUS * loss


def _cross_entropy(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(parameters.flatten(0, 1), y.long().flatten(), reduction="none").view_as(y)


def _residual(network: Network, parameters: Tensor, y: Tensor) -> Tensor:
    """A detector's mean squared residual, of z-scores; what is true has no part in it."""
    return parameters[..., 1]


LOSSES: dict[str, Callable[[Network, Tensor, Tensor], Tensor]] = {
    "mae": _mae,
    "mse": _mse,
    "huber": _huber,
    "quantile": _quantile,
    "poisson": _poisson,
    "negative_binomial": _negative_binomial,
    "bce": _bce,
    "focal": _focal,
    "cross_entropy": _cross_entropy,
    "residual": _residual,
}
"""Name in `train.loss` -> loss [b, steps] of parameters [b, steps, width] and known targets [b, steps]."""
