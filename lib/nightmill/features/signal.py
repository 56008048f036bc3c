"""Waveforms and images of silver as NumPy arrays inside Spark, and what is worked out from them row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]
from pyspark.sql.types import ArrayType, BinaryType, FloatType

from nightmill.config.contract import array_type

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightmill.features.inputs import Inputs

Floats = NDArray[np.float64]


def kind_of(inputs: Inputs, name: str) -> str:
    """Number type in silver of the series' array column."""
    return str(inputs.data_sets[next(iter(inputs.use_case.inputs))].contract.columns[name].of)


def retyped(inputs: Inputs, name: str) -> Column:
    """The column's arrays as bytes of gold's number type, little-endian."""
    silver, value = kind_of(inputs, name), F.col(f"`{name}`")
    if silver == array_type(silver):
        return value
    gold = np.dtype(array_type(silver)).newbyteorder("<")

    def change(column: pa.Array) -> pa.Array:
        changed = [_numbers(one, silver).astype(gold).tobytes() if one.is_valid else None for one in column]
        return pa.array(changed, pa.binary())

    return arrow_udf(change, BinaryType())(value)


def with_figures(
    rows: DataFrame,
    inputs: Inputs,
    of: str,
    names: list[str],
    figures: Callable[..., Floats],
    *beside: Column,
) -> DataFrame:
    """Adds `names`, the columns of figures(samples [n, size] float64, beside [n] …) -> [n, names]; null where NaN.

    Nothing is known of rows without an array.
    """
    silver = kind_of(inputs, of)

    def work(column: pa.Array, *further: pa.Array) -> pa.Array:
        values = np.full((len(column), len(names)), np.nan)
        known = np.array(column.is_valid())
        if known.any():
            samples = np.stack([_numbers(one, silver) for one in column if one.is_valid])
            numbers = [np.array(f.to_numpy(zero_copy_only=False), float)[known] for f in further]
            values[known] = figures(samples.astype(float), *numbers)
        values[~np.isfinite(values)] = np.nan
        flat = pa.array(values.astype(np.float32).ravel(), from_pandas=True)
        offsets = np.arange(0, values.size + 1, len(names), dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, flat)

    found = arrow_udf(work, ArrayType(FloatType()))(F.col(f"`{of}`"), *beside)
    added = rows.withColumn("_figures", found)
    return added.withColumns({name: F.col("_figures")[place] for place, name in enumerate(names)}).drop("_figures")


def _numbers(one: pa.BinaryScalar, kind: str) -> NDArray[np.generic]:
    return np.frombuffer(one.as_buffer(), np.dtype(kind).newbyteorder("<"))
