"""Columns of the series, as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightmill.config.features import Columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Columns, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Nothing to add: they are in the series."""
    return rows
