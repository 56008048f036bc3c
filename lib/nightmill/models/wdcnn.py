"""Regresses or classifies waveforms from their samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import Wdcnn as Options
from nightmill.models.dropout import Dropout
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Wdcnn(Network):
    """A wide convolution that is a bank of filters, then narrow ones, each followed by a halving of the waveform.

    Zhang et al. 2017, "A New Deep Learning Model for Fault Diagnosis with Good Anti-Noise and Domain Adaptation Ability
    on Raw Vibration Signals", with group normalisation (Wu & He 2018) in place of batch normalisation, and mean and
    maximum over the waveform in place of a layer over all of it. Each waveform is brought to mean 0 and standard
    deviation 1 first: how a fault sounds counts, not how loud. Ignores who the entity is.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        width, layers = max(options.hidden // 2, 1), list[nn.Module]()
        layers += [nn.Conv1d(1, width, options.kernel, options.stride, options.kernel // 2)]
        for _ in range(options.layers - 1):
            layers += [nn.GroupNorm(1, width), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True)]
            layers += [nn.Conv1d(width, options.hidden, 3, padding=1)]
            width = options.hidden
        self.layers = nn.Sequential(*layers, nn.GroupNorm(1, width), nn.ReLU())
        self.drop = Dropout(options.dropout)
        self.head = self.headed(2 * width)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        samples = self.array(x).flatten(1)
        moved = samples - samples.mean(dim=1, keepdim=True)
        strength = moved.square().mean(dim=1, keepdim=True).sqrt()
        found = self.layers((moved / strength.clamp(min=1e-12)).unsqueeze(1))
        return self.drop(torch.cat([found.mean(dim=2), found.amax(dim=2)], dim=1)), self.average(x)
