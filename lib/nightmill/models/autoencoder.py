"""Detects by what a narrow network cannot say again of a window."""

from __future__ import annotations

from torch import Tensor, nn

from nightmill.config.models import Autoencoder as Options
from nightmill.models.detector import Detector
from nightmill.models.dropout import Dropout
from nightmill.models.shape import Fitted, Shape


class Autoencoder(Detector):
    """Two layers into a code of few numbers, and two out of it; what does not come back is the residual.

    Hinton & Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks" (Science); for faults as in
    Sakurada & Yairi 2014, "Anomaly Detection Using Autoencoders with Nonlinear Dimensionality Reduction".
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(options, shape, fitted)
        values = shape.lookback * len(self.states)
        hidden, drop = options.hidden, options.dropout
        self.layers = nn.Sequential(
            nn.Linear(values, hidden), nn.ReLU(), Dropout(drop), nn.Linear(hidden, options.code),
            nn.Linear(options.code, hidden), nn.ReLU(), Dropout(drop), nn.Linear(hidden, values),
        )  # fmt: skip

    def residuals(self, z: Tensor) -> Tensor:
        states = z[:, :, self.states]
        return states - self.layers(states.flatten(1)).view_as(states)
