"""Changes training samples of arrays each time they are seen, so that a model learns what does not matter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nightmill.config.usecase import Augment, Flip, Noise, Roll, Scale

AXES = {"horizontal": -1, "vertical": -2}


def augmented(x: Tensor, ways: Sequence[Augment]) -> Tensor:
    """x [b, …] float32, changed in each way in turn; what is drawn follows from torch's generator."""
    for way in ways:
        if isinstance(way, Noise):
            x = _noisy(x, way)
        elif isinstance(way, Roll):
            x = _rolled(x)
        elif isinstance(way, Flip):
            x = _flipped(x, way)
        elif isinstance(way, Scale):
            x = x * _each(x, 1 + way.by * (2 * torch.rand(len(x), device=x.device) - 1))
    return x


def noisy(x: Tensor, decibel: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """x [b, …] with white noise of signal-to-noise ratios [b] in dB added: by the variance of each sample's values."""
    power = x.flatten(1).var(dim=1, correction=0)
    strength = (power * 10 ** (-decibel / 10)).sqrt()
    drawn = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + drawn * _each(x, strength)


def _noisy(x: Tensor, way: Noise) -> Tensor:
    low, high = way.between
    decibel = low + (high - low) * torch.rand(len(x), device=x.device)
    chosen = torch.rand(len(x), device=x.device) < way.share
    return torch.where(_each(x, chosen), noisy(x, decibel), x)


def _rolled(x: Tensor) -> Tensor:
    size = x.shape[-1]
    by = _each(x, torch.randint(size, (len(x),), device=x.device))
    place = (torch.arange(size, device=x.device) - by) % size
    return x.gather(-1, place.expand(x.shape))


def _flipped(x: Tensor, way: Flip) -> Tensor:
    for axis in way.axes:
        chosen = torch.rand(len(x), device=x.device) < 0.5
        x = torch.where(_each(x, chosen), x.flip(AXES[axis]), x)
    return x


def _each(x: Tensor, values: Tensor) -> Tensor:
    """[b] as [b, 1, …], beside x."""
    return values.view(-1, *[1] * (x.dim() - 1))
