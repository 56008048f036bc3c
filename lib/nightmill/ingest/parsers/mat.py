"""MATLAB files up to version 7: arrays of samples, in blocks."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from nightmill.config.source import Mat

COLUMNS = pa.schema([("variable", pa.string()), ("block", pa.int64()), ("samples", pa.binary())])


def parse(name: str, content: bytes, options: Mat) -> Iterator[dict[str, Any]]:
    """One record per block of each numeric array with one long axis whose name contains the expression."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(io.BytesIO(content))
    except (MatReadError, ValueError, TypeError, OSError, NotImplementedError, KeyError, IndexError) as error:
        raise ValueError(
            f"not a readable MATLAB file: {(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from None
    names = [n for n in sorted(found) if not n.startswith("__") and re.search(options.variables, n)]
    if not names:
        held = ", ".join(n for n in sorted(found) if not n.startswith("__")) or "none"
        raise ValueError(f"no array's name contains {options.variables}; it has {held}")
    for variable in names:
        array = np.asarray(found[variable])
        if array.dtype.kind not in "iuf" or array.size != max(array.shape, default=0):
            raise ValueError(f"array {variable} of {array.dtype} {list(array.shape)} is no series of numbers")
        if not array.size:
            raise ValueError(f"array {variable} is empty")
        series = np.ascontiguousarray(array.reshape(-1)).astype("<f8", copy=False)
        for block, start in enumerate(range(0, len(series), options.block), start=1):
            yield {
                "variable": variable,
                "block": block,
                "samples": series[start : start + options.block].tobytes(),
            }
