"""An image or a waveform of the row, as it is: what models for arrays see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightmill.config.features import Array
from nightmill.features.signal import retyped

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Array, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Makes the column bytes of uint8, or of float32 for all other numbers."""
    return rows.withColumn(feature.of, retyped(inputs, feature.of))
