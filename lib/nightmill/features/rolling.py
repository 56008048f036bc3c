"""What a column's last values of the same entity say: level, spread, trend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.config.features import Rolling
from nightmill.features.inputs import HOUR, micros

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Rolling, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the figures of the values at times in (t - over, t]; null where none is known."""
    time = F.unix_micros("ts")
    by_time = Window.partitionBy("entity").orderBy(time)
    columns, names = {}, iter(feature.names)
    for name in feature.of:
        value = F.col(f"`{name}`").cast("double")
        for span in feature.over:
            window = by_time.rangeBetween(1 - micros(span), 0)
            for how in feature.take:
                columns[next(names)] = _taken(how, value, time / HOUR).over(window)
    return rows.withColumns(columns)


def _taken(how: str, value: Column, hours: Column) -> Column:
    if how == "slope":
        return F.regr_slope(value, hours)
    return {"mean": F.avg, "std": F.stddev_samp, "min": F.min, "max": F.max}[how](value)
