"""Detects by a recurrent network that says what the next state should be after all of the window before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import NextState as Options
from nightmill.models.detector import Detector
from nightmill.models.dropout import Dropout
from nightmill.models.shape import Fitted, Shape


class NextState(Detector):
    """An LSTM over states and inputs, whose error is the residual.

    Malhotra et al. 2015, "Long Short Term Memory Networks for Anomaly Detection in Time Series" (ESANN). It begins by
    expecting the mean.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(options, shape, fitted)
        self.layers = nn.LSTM(len(shape.features), options.hidden, batch_first=True)
        self.drop, self.out = Dropout(options.dropout), nn.Linear(options.hidden, len(self.states))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def residuals(self, z: Tensor) -> Tensor:
        states = z[:, :, self.states]
        seen, _ = self.layers(torch.cat([states[:, :-1], z[:, 1:, self.drives]], dim=2))
        out: Tensor = states[:, 1:] - self.out(self.drop(seen))
        return out
