"""Columns of the series and of static inputs, as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.config.features import Columns, plain

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Columns, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Those of the series are there; those of static inputs get a name without a dot."""
    return rows.withColumns({plain(name): F.col(f"`{name}`") for name in feature.of if "." in name})
