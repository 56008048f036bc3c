"""Regresses a value of now from the history of one entity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import Lstm as Options
from nightmill.models.dropout import Dropout
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Lstm(Network):
    """LSTM layers, attention pooling over the window, linear head.

    Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; pooling as in Yang et al. 2016, "Hierarchical Attention
    Networks" (a learnt query). Ignores who the entity is, so it serves entities that training never saw.
    """

    cell: type[nn.LSTM] | type[nn.GRU] = nn.LSTM

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        between = options.dropout if options.layers > 1 else 0.0
        self.layers = self.cell(len(shape.features), options.hidden, options.layers, batch_first=True, dropout=between)
        # softmax does not see a bias: it would have no gradient but noise, which Adam turns into steps
        self.attend = nn.Sequential(
            nn.Linear(options.hidden, options.hidden), nn.Tanh(), nn.Linear(options.hidden, 1, bias=False)
        )
        self.drop = Dropout(options.dropout)
        self.head = self.headed(2 * options.hidden, zero=shape.past is not None)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states, _ = self.layers(self.normalised(x))
        weights = torch.softmax(self.attend(states), dim=1)
        pooled = torch.cat([(weights * states).sum(dim=1), states[:, -1]], dim=1)
        return self.drop(pooled), self.first_guess(x)
