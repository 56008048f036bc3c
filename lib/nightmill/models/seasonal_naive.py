"""Forecasts that repeat what was a season ago: nothing is trained, and a model that cannot beat it is none."""

from __future__ import annotations

import torch
from torch import Tensor

from nightmill.config.models import SeasonalNaive as Options
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class SeasonalNaive(Network):
    """The own past of the same place in the last known season.

    Hyndman & Athanasopoulos 2021, "Forecasting: Principles and Practice", 5.2. Where that value is missing the season
    before counts, and so on; where there is none at all the last known value.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        self.season = min(options.season, shape.lookback)
        self.head = self.headed(1, zero=True).requires_grad_(False)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        past = self._past(x)
        steps, last = torch.arange(self.shape.steps, device=x.device), self.first_guess(x)
        found = torch.full((len(x), self.shape.steps), torch.nan, device=x.device)
        for back in range(1, past.shape[1] // self.season + 1):
            place = past.shape[1] - back * self.season + steps % self.season
            found = torch.where(found.isnan(), past[:, place], found)
        return torch.ones_like(last), torch.where(found.isnan(), last, found)
