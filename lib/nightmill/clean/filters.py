"""Filters against outliers and noise: medians over the records around, within one entity's local day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.clean.records import CHANGED
from nightmill.clean.sequence import in_order
from nightmill.config import DataSet
from nightmill.config.cleaning import Hampel

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

SIGMA = 1.4826
"""Standard deviations in one median absolute deviation of a normal distribution."""


def filtered(data_set: DataSet, rows: DataFrame) -> DataFrame:
    """Applies the filters in their order; a value that becomes another is named in `_changed`, missing ones stay."""
    order = in_order(data_set)
    for item in data_set.clean.filters:
        value, half = F.col(f"`{item.of}`"), item.window // 2
        around = F.array_compact(
            F.array(
                *[F.lag(value, k).over(order) for k in range(half, 0, -1)],
                value,
                *[F.lead(value, k).over(order) for k in range(1, half + 1)],
            )
        )
        rows = rows.withColumn("_around", around).withColumn("_median", _median(F.col("_around")))
        moved = F.col("_median") != value
        if isinstance(item, Hampel):
            spread = _median(F.transform("_around", lambda one: F.abs(one - F.col("_median")))) * SIGMA
            moved = F.abs(value - F.col("_median")) > F.lit(item.sigmas) * spread
        moved = F.coalesce(moved, F.lit(False))
        changed = F.concat_ws("; ", F.col(CHANGED), F.when(moved, f"{item.of} {item.kind}"))
        rows = rows.withColumns(
            {item.of: F.when(moved, F.col("_median")).otherwise(value), CHANGED: F.when(changed != "", changed)}
        ).drop("_around", "_median")
    return rows


def _median(values: Expression) -> Expression:
    """Median of an array; of an even number of values the mean of the two in the middle."""
    ordered, size = F.array_sort(values), F.size(values)
    low = F.get(ordered, F.floor((size - 1) / 2).cast("int"))
    high = F.get(ordered, F.floor(size / 2).cast("int"))
    return (low + high) / 2
