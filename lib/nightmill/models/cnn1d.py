"""Regresses, classifies or forecasts from local patterns in the window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import Cnn1d as Options
from nightmill.models.dropout import Dropout
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Cnn1d(Network):
    """Convolutions over time, rectified and normalised, then the mean and the maximum over the window.

    Wang, Yan & Oates 2017, "Time Series Classification from Scratch with Deep Neural Networks" (fully convolutional
    network), with group normalisation (Wu & He 2018) in place of batch normalisation: a sample's prediction does not
    depend on the others of its batch. Ignores who the entity is.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        width, layers = len(shape.features), list[nn.Module]()
        for _ in range(options.layers):
            layers += [
                nn.Conv1d(width, options.hidden, options.kernel, padding="same"),
                nn.GroupNorm(1, options.hidden),
                nn.ReLU(),
                Dropout(options.dropout),
            ]
            width = options.hidden
        self.layers = nn.Sequential(*layers)
        self.head = self.headed(2 * width, zero=shape.past is not None)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        found = self.layers(self.normalised(x).transpose(1, 2))
        return torch.cat([found.mean(dim=2), found.amax(dim=2)], dim=1), self.first_guess(x)
