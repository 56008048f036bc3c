"""Power of a waveform, or of its envelope, in bands of frequency and at multiples of a speed of rotation."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import functions as F

from nightmill.config.features import Spectrum
from nightmill.features.signal import Floats, with_figures

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs

WIDE = 0.02
"""How far from an order, as a share of it, its power is looked for: what rolls slips, and speeds drift."""


def add(feature: Spectrum, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the logarithms; those of no power at all are missing."""
    rate, bands, envelope, orders = feature.rate, feature.bands, feature.envelope, list(feature.orders)
    beside = [F.col(f"`{feature.speed}`").cast("double")] if isinstance(feature.speed, str) else []
    fixed = feature.speed if isinstance(feature.speed, float) else float("nan")

    def figures(samples: Floats, *speed: Floats) -> Floats:
        turns = speed[0] if speed else np.full(len(samples), fixed)
        frequency, power = spectrum(envelopes(samples) if envelope else samples, rate)
        return np.log10(np.hstack([in_bands(frequency, power, bands), at_orders(frequency, power, turns, orders)]))

    return with_figures(rows, inputs, feature.of, feature.names, figures, *beside)


def spectrum(samples: Floats, rate: float) -> tuple[Floats, Floats]:
    """(frequency [f] Hz, power density [n, f]) of samples [n, size] less their mean: the periodogram under Hann's
    window (Harris 1978, "On the Use of Windows for Harmonic Analysis with the Discrete Fourier Transform")."""
    size = samples.shape[1]
    window = np.sin(np.pi * np.arange(size) / size) ** 2
    found = np.fft.rfft((samples - samples.mean(axis=1, keepdims=True)) * window, axis=1)
    density: Floats = 2 * np.abs(found) ** 2 / (rate * np.sum(window**2))
    return np.asarray(np.fft.rfftfreq(size, 1 / rate), float), density


def envelopes(samples: Floats) -> Floats:
    """[n, size] size of the analytic signal of samples less their mean (Gabor 1946, "Theory of Communication")."""
    size = samples.shape[1]
    keep = np.zeros(size)
    keep[0], keep[1 : (size + 1) // 2] = 1, 2
    if size % 2 == 0:
        keep[size // 2] = 1
    moved = samples - samples.mean(axis=1, keepdims=True)
    return np.abs(np.fft.ifft(np.fft.fft(moved, axis=1) * keep, axis=1))


def in_bands(frequency: Floats, power: Floats, bands: int) -> Floats:
    """[n, bands] mean power of bands from the lowest frequency above 0 to the highest, each wider by the same factor.

    A band that holds no frequency of its own has the power of the nearest.
    """
    if not bands:
        return np.empty((len(power), 0))
    edges = np.geomspace(frequency[1], frequency[-1], bands + 1)
    edges[-1] *= 1.001  # the highest belongs to the last
    found = [_mean(power, (frequency >= low) & (frequency < high)) for low, high in pairwise(edges)]
    middle = np.sqrt(edges[1:] * edges[:-1])
    return np.stack([_nearest(frequency, power, at) if one is None else one for one, at in zip(found, middle)], axis=1)


def at_orders(frequency: Floats, power: Floats, speed: Floats, orders: list[float]) -> Floats:
    """[n, orders] greatest power near each multiple of the speed [n] (1/s); NaN beyond the spectrum's end."""
    found = np.full((len(power), len(orders)), np.nan)
    step = frequency[1]
    for place, order in enumerate(orders):
        for turns in np.unique(speed[np.isfinite(speed)]):
            rows, at = speed == turns, order * turns
            if step / 2 < at <= frequency[-1]:
                near = np.abs(frequency - at) <= max(WIDE * at, step)
                found[rows, place] = power[rows][:, near].max(axis=1)
    return found


def _mean(power: Floats, chosen: NDArray[np.bool_]) -> Floats | None:
    return power[:, chosen].mean(axis=1) if chosen.any() else None


def _nearest(frequency: Floats, power: Floats, at: float) -> Floats:
    nearest: Floats = power[:, np.abs(frequency - at).argmin()]
    return nearest
