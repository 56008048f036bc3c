"""The last layer: from what a body found to what is predicted. Bodies know nothing of it; losses read parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, special, stats
from torch import Tensor, nn
from torch.nn import functional

from nightmill.models.shape import Shape

SMALL = 1e-6


class Head(nn.Module):
    """`forward(h [b, inputs], base [b, 1 or steps], mean, std) -> parameters [b, steps, width]`, always float32.

    `base` is the body's own first guess in the target's unit; `mean` and `std` (scalars) are those of the target on
    the training rows. With `zero` the layer begins at zero, and the untrained model is the first guess.
    """

    def __init__(self, inputs: int, shape: Shape, zero: bool = False) -> None:
        super().__init__()
        self.shape, self.width = shape, self.wide(shape)
        self.linear = nn.Linear(inputs, shape.steps * self.width)
        if zero:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(self, h: Tensor, base: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        z = self.linear(h).float().unflatten(1, (self.shape.steps, self.width))
        return self.link(z, base.float(), mean, std)

    @staticmethod
    def wide(shape: Shape) -> int:
        """Parameters per predicted value."""
        return 1

    def link(self, z: Tensor, base: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Parameters [b, steps, width] from what the linear layer gives, of the same size."""
        raise NotImplementedError

    def value(self, parameters: Tensor) -> Tensor:
        """[b, steps] the prediction in the target's unit: the first parameter, unless a head says otherwise."""
        return parameters[..., 0]

    def ends(self, parameters: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """(lo, hi), each [b, steps]: where the head itself expects `share` of the truths; a point expects nothing."""
        value = self.value(parameters)
        return value, value

    def sure(self, parameters: Tensor) -> Tensor | None:
        """[b, steps] the probability of what is predicted, for heads that predict a class."""
        return None


class Point(Head):
    """One value per step: base + z standard deviations."""

    def link(self, z: Tensor, base: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        return base.unsqueeze(2) + z * std


class Quantiles(Head):
    """A value per quantile level, ascending by construction: the median, and steps outwards that are never negative.

    Koenker & Bassett 1978, "Regression Quantiles"; without crossing as in Gasthaus et al. 2019, "Probabilistic
    Forecasting with Spline Quantile Function RNNs".
    """

    @staticmethod
    def wide(shape: Shape) -> int:
        return len(shape.levels)

    def link(self, z: Tensor, base: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        middle = self.width // 2
        steps = functional.softplus(z)
        below = -steps[..., :middle].flip(2).cumsum(2).flip(2)
        above = steps[..., middle + 1 :].cumsum(2)
        centre = z[..., middle : middle + 1]
        return base.unsqueeze(2) + torch.cat([centre + below, centre, centre + above], dim=2) * std

    def value(self, parameters: Tensor) -> Tensor:
        return parameters[..., self.width // 2]

    def ends(self, parameters: Tensor, share: float) -> tuple[Tensor, Tensor]:
        outer = np.abs(np.array(self.shape.levels[: self.width // 2]) - (1 - share) / 2)
        place = int(outer.argmin())
        return parameters[..., place], parameters[..., self.width - 1 - place]


class Poisson(Head):
    """The rate of a Poisson distribution, by a log link from the training mean (Nelder & Wedderburn 1972)."""

    def link(self, z: Tensor, base: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        return _rate(z, mean)

    def ends(self, parameters: Tensor, share: float) -> tuple[Tensor, Tensor]:
        return _ends(stats.poisson(parameters[..., 0].detach().double().cpu().numpy()), share, parameters)


class NegativeBinomial(Head):
    """Mean m and dispersion a of a negative binomial distribution, whose variance is m + a m2.

    Salinas et al. 2020, "DeepAR: Probabilistic Forecasting with Autoregressive Recurrent Networks".
    """

    @staticmethod
    def wide(shape: Shape) -> int:
        return 2

    def link(self, z: Tensor, base: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        return torch.stack([_rate(z[..., 0], mean), functional.softplus(z[..., 1]) + SMALL], dim=2)

    def ends(self, parameters: Tensor, share: float) -> tuple[Tensor, Tensor]:
        mean, dispersion = parameters.detach().double().cpu().numpy().transpose(2, 0, 1)
        return _ends(stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)), share, parameters)


class Probability(Head):
    """The log odds of one of two classes, from those of the training rows."""

    def link(self, z: Tensor, base: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        return torch.logit(mean, eps=1e-4) + z

    def value(self, parameters: Tensor) -> Tensor:
        return torch.sigmoid(parameters[..., 0])


class Classes(Head):
    """A logit per class; the prediction is the position of the likeliest."""

    @staticmethod
    def wide(shape: Shape) -> int:
        return len(shape.classes)

    def link(self, z: Tensor, base: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        return z

    def value(self, parameters: Tensor) -> Tensor:
        return parameters.argmax(dim=2).to(parameters.dtype)

    def sure(self, parameters: Tensor) -> Tensor | None:
        return parameters.softmax(dim=2).amax(dim=2)


class Anomaly(Head):
    """What a detector itself has worked out: a health index, and the loss beside it. It has no layer."""

    def __init__(self, inputs: int, shape: Shape, zero: bool = False) -> None:
        nn.Module.__init__(self)
        self.shape, self.width = shape, self.wide(shape)

    @staticmethod
    def wide(shape: Shape) -> int:
        return 2


HEADS: dict[str, type[Head]] = {
    "point": Point,
    "quantiles": Quantiles,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "probability": Probability,
    "classes": Classes,
    "anomaly": Anomaly,
}
"""By the name in `Shape.head`."""


def counts(mean: NDArray[Any], dispersion: float, levels: Sequence[float]) -> NDArray[np.float32]:
    """[..., levels] quantiles of negative binomial distributions of these means and one dispersion."""
    mean = np.maximum(np.asarray(mean, np.float64), SMALL)[..., None]
    return np.asarray(stats.nbinom.ppf(np.asarray(levels), 1 / dispersion, 1 / (1 + dispersion * mean)), np.float32)


def dispersion(truth: NDArray[Any], mean: NDArray[Any]) -> float:
    """The likeliest dispersion of counts round their means, of equal shapes; unknown truths (NaN) do not count."""
    known = ~np.isnan(truth)
    count, mean = truth[known].astype(np.float64), np.maximum(mean[known].astype(np.float64), SMALL)
    if not len(count):
        return 1.0

    def unlikely(log: float) -> float:
        size = np.exp(-log)
        likely = special.gammaln(count + size) - special.gammaln(size) - special.gammaln(count + 1)
        likely = likely - (size + count) * np.log1p(mean / size) + special.xlogy(count, mean / size)
        return -float(likely.mean())

    return float(np.exp(optimize.minimize_scalar(unlikely, bounds=(-7.0, 5.0), method="bounded").x))


def _rate(z: Tensor, mean: Tensor) -> Tensor:
    return mean.clamp(min=SMALL) * torch.exp(z.clamp(max=20.0))


def _ends(law: Any, share: float, like: Tensor) -> tuple[Tensor, Tensor]:
    ends = (law.ppf((1 - share) / 2), law.ppf((1 + share) / 2))
    return tuple(torch.as_tensor(end, dtype=like.dtype, device=like.device) for end in ends)  # type: ignore[return-value]
