"""How a model stands bad inputs: values missing, a sensor gone, noise."""

from __future__ import annotations

import numpy as np
import torch

from nightmill.evaluate.probe import Probe
from nightmill.metrics import METRICS
from nightmill.models.augment import noisy

MISSING = 0.05
"""Share of the values that are missing."""
DECIBEL = (20, 10, 0)
"""Signal-to-noise ratios: 20 dB is noise of a tenth of the signal's own spread, 0 dB of all of it."""
MEASURED = ("columns", "lag", "rolling", "neighbours", "network_mean", "waveform", "spectrum")
"""Kinds of features that noise of a sensor moves."""


def stress(probe: Probe) -> dict[str, float]:
    """What is done to the inputs -> the first metric then, on the test part; "as it is" comes first.

    A sensor that is gone is a lever without any value: the one that costs most. Noise is white, relative to each
    sample's own power in arrays, and to the spread of each measured feature among the samples else.
    """
    found, random = {"as it is": probe.figure(probe.x)}, torch.Generator().manual_seed(probe.bundle.seed)
    if not probe.bundle.shape.array:
        lost = torch.rand(probe.x.shape, generator=random) < MISSING
        found[f"{MISSING:.0%} of the values missing"] = probe.figure(probe.x.masked_fill(lost, torch.nan))
        worst = min if METRICS[probe.material.use_case.evaluate.metrics[0]].higher else max
        without = {lever: probe.figure(_without(probe, columns)) for lever, columns in probe.levers.items()}
        lever = worst(without, key=lambda name: without[name])
        found["the sensor gone that costs most"] = without[lever]
    for decibel in DECIBEL:
        found[f"noise of {decibel} dB"] = probe.figure(_noisy(probe, decibel, random))
    return found


def _without(probe: Probe, columns: list[str]) -> torch.Tensor:
    lost = torch.full((*probe.x.shape[:2], len(columns)), torch.nan)
    return probe.with_columns(columns, lost)


def _noisy(probe: Probe, decibel: float, random: torch.Generator) -> torch.Tensor:
    x = probe.x
    if probe.bundle.shape.array:
        return noisy(x, torch.full((len(x),), float(decibel)), random)
    kinds = {name: f.kind for f in probe.material.use_case.features for name in f.names}
    columns = [name for name in probe.bundle.shape.features if kinds.get(name) in MEASURED]
    values = x[:, :, probe.places(columns)]
    spread = torch.from_numpy(np.nan_to_num(np.nanstd(values.double().numpy(), axis=(0, 1)))).float()
    drawn = torch.randn(values.shape, generator=random) * spread * 10 ** (-decibel / 20)
    return probe.with_columns(columns, values + drawn)
