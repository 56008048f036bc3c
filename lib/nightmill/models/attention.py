"""The encoder layer of a transformer: attention between tokens, then each token by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nightmill.models.dropout import Dropout

SHORT = 128
"""Tokens up to which all weights between them at once are faster on a CPU than the fused kernel, which saves memory."""


class Encoder(nn.Module):
    """x [b, tokens, hidden] -> the same size, each half added to what it was given.

    Vaswani et al. 2017, "Attention Is All You Need", normalised before each half: Xiong et al. 2020, "On Layer
    Normalization in the Transformer Architecture". Unlike in torch's own layer all weights are those of linear layers,
    so that low-rank updates reach them.
    """

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_each = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.asked = nn.Linear(hidden, 3 * hidden)  # queries, keys, values
        self.answered = nn.Linear(hidden, hidden)
        self.widen, self.narrow = nn.Linear(hidden, 2 * hidden), nn.Linear(2 * hidden, hidden)
        self.drop = Dropout(dropout)
        nn.init.xavier_uniform_(self.asked.weight)
        for bias in (self.asked.bias, self.answered.bias):
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.before_attention(x)))
        inner = self.drop(functional.gelu(self.widen(self.before_each(x))))
        return x + self.drop(self.narrow(inner))

    def attention(self, x: Tensor) -> Tensor:
        """Each token's mean of all values, weighted by how far their keys agree with its query."""
        query, key, value = self.asked(x).unflatten(2, (3, self.heads, -1)).unbind(2)  # [b, tokens, heads, width]
        if x.device.type == "cpu" and x.shape[1] <= SHORT:
            weights = torch.einsum("bqhw,bkhw->bhqk", query * query.shape[3] ** -0.5, key).softmax(3)
            found = torch.einsum("bhqk,bkhw->bqhw", weights, value)
        else:
            heads_first = (part.transpose(1, 2) for part in (query, key, value))
            found = functional.scaled_dot_product_attention(*heads_first).transpose(1, 2)
        answered: Tensor = self.answered(found.flatten(2))
        return answered
