"""What a waveform's samples say as a whole: how strong they are, and how spiky."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nightmill.config.features import Waveform
from nightmill.features.signal import Floats, with_figures

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Waveform, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the figures; those that divide by nothing, as the kurtosis of a flat line, are missing."""
    take = [*feature.take]
    return with_figures(rows, inputs, feature.of, feature.names, lambda samples: figures(samples, take))


def figures(samples: Floats, take: Sequence[str]) -> Floats:
    """[n, take] of samples [n, size]."""
    moved = samples - samples.mean(axis=1, keepdims=True)
    rms, peak = np.sqrt(np.mean(moved**2, axis=1)), np.abs(moved).max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "rms": rms,
            "peak": peak,
            "crest": peak / rms,
            "skewness": np.mean(moved**3, axis=1) / rms**3,
            "kurtosis": np.mean(moved**4, axis=1) / rms**4,
        }
    return np.stack([found[how] for how in take], axis=1)
