"""Regresses or forecasts from a long history in few layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nightmill.config.models import Tcn as Options
from nightmill.models.dropout import Dropout
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Tcn(Network):
    """Residual blocks of causal convolutions whose reach doubles from block to block; the last step is what counts.

    Bai, Kolter & Koltun 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
    Modeling", with layer normalisation instead of weight normalisation. Ignores who the entity is.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        self.widen = nn.Linear(len(shape.features), options.hidden)
        self.blocks = nn.ModuleList(
            _Block(options.hidden, options.kernel, 2**number, options.dropout) for number in range(options.blocks)
        )
        self.head = self.headed(options.hidden, zero=shape.past is not None)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = self.widen(self.normalised(x)).transpose(1, 2)
        for block in self.blocks:
            h = block(h)
        return h[:, :, -1], self.first_guess(x)


class _Block(nn.Module):
    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.into = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.out = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.norm, self.drop = nn.GroupNorm(1, width), Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        inner = torch.relu(self.into(functional.pad(self.norm(h), (self.reach, 0))))
        out: Tensor = h + self.out(functional.pad(self.drop(inner), (self.reach, 0)))
        return out
