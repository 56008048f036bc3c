"""Forecasts by exponential smoothing of level, trend and season, whose rates are learnt over all entities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import Ets as Options
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Ets(Network):
    """Holt and Winters' additive method with a damped trend, as a state space model with additive errors.

    Hyndman et al. 2008, "Forecasting with Exponential Smoothing: The State Space Approach", AAdA; the rates are fitted
    by gradient as in Smyl 2020, "A Hybrid Method of Exponential Smoothing and Recurrent Neural Networks". Level and
    season begin as those of the window's first season. A missing value changes no state but time.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        self.season = options.season if options.season < shape.lookback else 0
        # log odds of the rates of level, trend and season, and of how much of the trend stays from step to step
        self.rates = nn.Parameter(torch.tensor([0.0, -4.0, -2.0, 2.0]))
        self.head = self.headed(1, zero=True)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        guess = self.first_guess(x)
        z = (self._past(x) - guess) / self.target_std
        forecast, errors = self._smoothed(z)
        return errors, guess + forecast * self.target_std

    def _smoothed(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(forecasts [b, steps], root mean square of the errors one step ahead [b, 1]) of pasts [b, lookback]."""
        alpha, beta, gamma, phi = torch.sigmoid(self.rates)
        first = max(self.season, 1)
        level = torch.nan_to_num(z[:, :first].nanmean(dim=1))
        # what the first season was beside its level; nothing is known of a missing place
        places = list(torch.nan_to_num(z[:, :first] - level[:, None]).unbind(1)) if self.season else [level * 0]
        trend, squares, count = torch.zeros_like(level), torch.zeros_like(level), torch.zeros_like(level)
        for at in range(first, z.shape[1]):
            place, carried = at % len(places), phi * trend
            error = z[:, at] - level - carried - places[place]
            known = ~error.isnan()
            error = torch.where(known, error, 0.0)
            level = level + carried + alpha * error
            trend = carried + beta * error
            if self.season:
                places[place] = places[place] + gamma * error
            squares, count = squares + error.square(), count + known
        damped = torch.cumsum(phi ** torch.arange(1, self.shape.steps + 1, device=z.device), dim=0)
        ahead = [places[(z.shape[1] + step) % len(places)] for step in range(self.shape.steps)]
        forecast = level[:, None] + trend[:, None] * damped + torch.stack(ahead, dim=1)
        return forecast, (squares / count.clamp(min=1.0) + 1e-6).sqrt()[:, None]
