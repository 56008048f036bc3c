"""Forecasts as a linear function of the recent past."""

from __future__ import annotations

import torch
from torch import Tensor

from nightmill.config.models import Nlinear as Options
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Nlinear(Network):
    """The window less its last value, times a matrix, plus that value; further features count by their latest row.

    Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?" (AAAI). All entities share the matrix.
    A missing value counts as the last known one.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        self.others = [i for i, name in enumerate(shape.features) if name != shape.past]
        self.head = self.headed(shape.lookback + len(self.others), zero=True)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        last = self.first_guess(x)
        latest = self.normalised(x[:, -1:])[:, 0, self.others]
        return torch.cat([self.apart(x, last), latest], dim=1), last
