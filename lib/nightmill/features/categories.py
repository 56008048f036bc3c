"""Which of several texts a column holds (one-hot encoding)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.config.features import Categories

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Categories, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds 1 for the text that a row holds and 0 for the others; null where it holds none."""
    held = F.col(f"`{feature.of}`").cast("string")
    return rows.withColumns(
        {name: (held == value).cast("float") for name, value in zip(feature.names, feature.values, strict=True)}
    )
