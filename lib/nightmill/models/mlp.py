"""Regresses a value of now from what a window amounts to: level, trend and latest level of each feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import Mlp as Options
from nightmill.models.dropout import Dropout
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Mlp(Network):
    """Multilayer perceptron (Rumelhart, Hinton & Williams 1986) with rectifiers and dropout, over window summaries.

    Slow wear under noisy sensors shows in means and slopes over many rows; a network that is given them need not learn
    to average, and has few weights to fit to noise. Ignores who the entity is, so it serves entities never seen.
    """

    time: Tensor

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        self.recent = min(options.recent, shape.lookback)
        time = torch.linspace(-1, 1, shape.lookback) if shape.lookback > 1 else torch.zeros(1)
        # not part of the weights file: it follows from the lookback
        self.register_buffer("time", time / time.square().sum().clamp(min=1.0), persistent=False)
        width, layers = 3 * len(shape.features), list[nn.Module]()
        for _ in range(options.layers):
            layers += [nn.Linear(width, options.hidden), nn.ReLU(), Dropout(options.dropout)]
            width = options.hidden
        self.layers = nn.Sequential(*layers)
        self.head = self.headed(width)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.layers(self.summary(x)), self.average(x)

    def summary(self, x: Tensor) -> Tensor:
        """[b, 3 * feature] mean, least-squares slope (per half window) and mean of the latest rows, as z-scores."""
        rows = self.normalised(x)
        slope = torch.einsum("blf,l->bf", rows, self.time)
        return torch.cat([rows.mean(dim=1), slope, rows[:, -self.recent :].mean(dim=1)], dim=1)
