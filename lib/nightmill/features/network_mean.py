"""Mean of a column over all entities at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.config.features import NetworkMean

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: NetworkMean, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the mean at each time."""
    means = inputs.wanted().groupBy("ts").agg(F.avg(f"`{feature.of}`").alias(feature.names[0]))
    return rows.join(F.broadcast(means), "ts", "left")
