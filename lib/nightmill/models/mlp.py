"""Regresses a value of now from what a window amounts to: level, trend and latest level of each feature."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from nightmill.config.models import Mlp as Options
from nightmill.models.dropout import Dropout
from nightmill.models.heads import SMALL
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Mlp(Network):
    """Multilayer perceptron (Rumelhart, Hinton & Williams 1986) with rectifiers and dropout, over window summaries.

    Slow wear under noisy sensors shows in means and slopes over many rows; a network that is given them need not learn
    to average, and has few weights to fit to noise. Ignores who the entity is, so it serves entities never seen.
    """

    time: Tensor
    edges: Tensor

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        self.recent = min(options.recent, shape.lookback)
        time = torch.linspace(-1, 1, shape.lookback) if shape.lookback > 1 else torch.zeros(1)
        # not part of the weights file: it follows from the lookback
        self.register_buffer("time", time / time.square().sum().clamp(min=1.0), persistent=False)
        self.bins = options.bins
        if self.bins:
            empty = torch.zeros(len(shape.features), self.bins + 1)
            known = fitted is not None and fitted.edges is not None
            self.register_buffer("edges", torch.as_tensor(fitted.edges) if known else empty)  # type: ignore[union-attr]
        parts = 3 if shape.lookback > 1 else 1  # a single row has no slope, and is its own mean
        width, layers = (parts + self.bins) * len(shape.features), list[nn.Module]()
        for _ in range(options.layers):
            layers += [nn.Linear(width, options.hidden), nn.ReLU(inplace=True), Dropout(options.dropout)]
            width = options.hidden
        self.layers = nn.Sequential(*layers)
        self.head = self.headed(width)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen = self.summary(x)
        if self.bins:
            seen = torch.cat([seen, self.encoded(x[:, -self.recent :].nanmean(dim=1))], dim=1)
        return self.layers(seen), self.average(x)

    def encoded(self, values: Tensor) -> Tensor:
        """[b, feature * bins] how far each value [b, feature] is through each of its bins; 0 where it is missing.

        Gorishniy, Rubachev & Babenko 2022, "On Embeddings for Numerical Features in Tabular Deep Learning" (NeurIPS);
        what lies beyond all bins shows in the z-scores beside it.
        """
        low, width = self.edges[:, :-1], self.edges.diff(dim=1).clamp(min=SMALL)
        return torch.nan_to_num(((values.unsqueeze(2) - low) / width).clamp(0.0, 1.0)).flatten(1)

    def scales(self, fitted: Fitted) -> Fitted:
        kept = super().scales(fitted)
        return replace(kept, edges=self.edges.cpu().numpy()) if self.bins else kept

    def summary(self, x: Tensor) -> Tensor:
        """[b, 3 * feature] mean, least-squares slope (per half window) and mean of the latest rows, as z-scores.

        Of a single row [b, feature] the z-scores themselves.
        """
        rows = self.normalised(x)
        if self.shape.lookback == 1:
            return rows[:, 0]
        slope = torch.einsum("blf,l->bf", rows, self.time)
        return torch.cat([rows.mean(dim=1), slope, rows[:, -self.recent :].mean(dim=1)], dim=1)
