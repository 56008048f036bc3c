"""Forecasts from a long history by attention between its patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import Patchtst as Options
from nightmill.models.attention import Encoder
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Patchtst(Network):
    """Patches of the window as tokens of a transformer encoder, all their states to the head.

    Nie et al. 2023, "A Time Series is Worth 64 Words: Long-term Forecasting with Transformers" (ICLR). A patch holds
    all features of its steps; each window's target is taken less its last known value, in place of the paper's instance
    normalisation. All entities share the weights.
    """

    place: Tensor

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        self.length = min(options.patch, shape.lookback)
        self.stride = max(1, min(options.stride, self.length))
        count = -(-max(shape.lookback - self.length, 0) // self.stride) + 1
        self.short = (count - 1) * self.stride + self.length - shape.lookback
        self.embed = nn.Linear(self.length * len(shape.features), options.hidden)
        self.place = nn.Parameter(0.02 * torch.randn(count, options.hidden))
        layers = [Encoder(options.hidden, options.heads, options.dropout) for _ in range(options.layers)]
        self.layers = nn.Sequential(*layers, nn.LayerNorm(options.hidden))
        self.head = self.headed(count * options.hidden, zero=shape.past is not None)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        guess, z = self.first_guess(x), self.normalised(x)
        if self.shape.past:
            own = self.shape.features.index(self.shape.past)
            z = torch.cat([z[:, :, :own], self.apart(x, guess).unsqueeze(2), z[:, :, own + 1 :]], dim=2)
        # the oldest patch is filled up with the oldest row
        z = torch.cat([z[:, :1].expand(-1, self.short, -1), z], dim=1)
        patches = z.unfold(1, self.length, self.stride).flatten(2)
        return self.layers(self.embed(patches) + self.place).flatten(1), guess
