"""A column's value of the same entity some time ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.config.features import Lag
from nightmill.features.inputs import micros

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Lag, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the values at t - by; null where there is no row then."""
    by_time = Window.partitionBy("entity").orderBy(F.unix_micros("ts"))
    columns, names = {}, iter(feature.names)
    for name in feature.of:
        for span in feature.by:
            then = by_time.rangeBetween(-micros(span), -micros(span))
            columns[next(names)] = F.first(f"`{name}`").over(then)
    return rows.withColumns(columns)
