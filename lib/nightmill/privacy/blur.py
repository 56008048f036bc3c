"""What is made coarser, so that it no longer points at one person: numbers such as places, and images."""

from __future__ import annotations

import math

import numpy as np

UNREADABLE = "?"
"""Stands for a text that should be a number and is none: it might say anything."""


def coarser(text: str | None, step: float) -> str | None:
    """The multiple of `step` that is nearest to a number written as text."""
    plain = text.strip() if text else ""
    if not plain:
        return None
    try:
        number = float(plain)
    except ValueError:
        return UNREADABLE
    if not math.isfinite(number):
        return UNREADABLE
    digits = max(0, math.ceil(-math.log10(step)) + 2)
    return f"{round(number / step) * step:.{digits}f}"


def pixelated(pixels: bytes, height: int, width: int, channels: int, size: int) -> bytes:
    """An image [height, width, channels] of uint8 in which squares of `size` pixels have their mean colour."""
    image = np.frombuffer(pixels, np.uint8).reshape(height, width, channels).astype(np.float64)
    rows, columns = np.arange(0, height, size), np.arange(0, width, size)
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)
    heights, widths = np.diff([*rows, height]), np.diff([*columns, width])
    means = sums / (heights[:, None, None] * widths[None, :, None])
    full = np.repeat(np.repeat(means, heights, axis=0), widths, axis=1)
    return np.rint(full).astype(np.uint8).tobytes()
