"""Detects by principal components: how far values are along the usual directions, and how far off them."""

from __future__ import annotations

import torch
from torch import Tensor

from nightmill.config.models import Pca as Options
from nightmill.models.detector import Detector
from nightmill.models.heads import SMALL
from nightmill.models.shape import Fitted, Shape


class Pca(Detector):
    """Hotelling's T2 within the components that hold `share` of the variance, and the squared error Q beyond them.

    Jackson & Mudholkar 1979, "Control Procedures for Residuals Associated With Principal Component Analysis"
    (Technometrics). Nothing is trained by gradient.
    """

    axes: Tensor
    variance: Tensor
    major: Tensor

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(options, shape, fitted)
        count = len(self.states)
        self.register_buffer("axes", torch.eye(count))
        self.register_buffer("variance", torch.ones(count))
        self.register_buffer("major", torch.ones(count))

    @property
    def figures(self) -> int:
        return 2

    def residuals(self, z: Tensor) -> Tensor:
        return z[:, :, self.states]

    def statistics(self, residual: Tensor) -> Tensor:
        along = residual @ self.axes
        within = (along.square() * self.major / self.variance).sum(dim=-1)
        beyond = (along.square() * (1 - self.major)).sum(dim=-1)
        return torch.stack([within, beyond], dim=-1).sqrt()

    def fit_statistics(self, residual: Tensor) -> None:
        spread = residual.double().T.cov(correction=0) if len(residual) > 1 else torch.eye(residual.shape[1]).double()
        variance, axes = torch.linalg.eigh(spread.reshape(residual.shape[1], -1))
        variance, axes = variance.flip(0).clamp(min=SMALL), axes.flip(1)
        before = variance.cumsum(0) - variance
        self.axes.copy_(axes)
        self.variance.copy_(variance)
        self.major.copy_(before < self.options.share * variance.sum())
