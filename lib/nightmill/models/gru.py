"""Regresses or forecasts from the history of one entity, with fewer weights than an LSTM."""

from __future__ import annotations

from torch import nn

from nightmill.models.lstm import Lstm


class Gru(Lstm):
    """Gated recurrent units, pooled as in `Lstm`.

    Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation".
    """

    cell = nn.GRU
