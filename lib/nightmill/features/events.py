"""Event history: how often something happened before a row, and how long ago the last time.

One pass: rows and events of one machine lie in the order of time, each event counts +1 when it happens and -1 when it
leaves a window, so that a running sum at a row is the number of events in the window that ends there.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.config.features import Events
from nightmill.features.inputs import HOUR, micros

if TYPE_CHECKING:
    from nightmill.features.inputs import Inputs


def add(feature: Events, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds counts over (t - within, t], and the hours from the last event up to t to the row's time t."""
    key = inputs.shared(feature.of, feature.by)
    events = inputs.around(feature.of, back=feature.reach)
    value = F.col(f"`{feature.by}`") if feature.by else F.lit("")
    told = events.select(*[f"`{name}`" for name in key], F.unix_micros("ts").alias("_at"), value.alias("_value"))
    if feature.values:
        told = told.where(F.col("_value").isin(feature.values))
    ends = [micros(span) for span in feature.within]
    pieces = [told.withColumns({"_change": F.lit(1), "_end": F.lit(-1)})]
    for place, end in enumerate(ends):
        left = {"_at": F.col("_at") + end, "_change": F.lit(-1), "_end": F.lit(place)}
        pieces.append(told.withColumns(left))
    changes = reduce(DataFrame.unionByName, pieces)
    marked = rows.withColumn("_at", F.unix_micros("ts")).unionByName(changes, allowMissingColumns=True)
    past = Window.partitionBy(*[f"`{name}`" for name in key]).orderBy("_at").rangeBetween(Window.unboundedPreceding, 0)
    columns = {}
    names = iter(feature.names)
    for what in feature.values or [""]:
        here = F.col("_value") == what
        for place in range(len(ends)):
            change = F.when(here & F.col("_end").isin(-1, place), F.col("_change"))
            columns[next(names)] = F.coalesce(F.sum(change).over(past), F.lit(0))
        if feature.since is not None:
            last = F.max(F.when(here & (F.col("_end") == -1), F.col("_at"))).over(past)
            longest = feature.since.total_seconds() / 3600
            hours = (F.col("_at") - last) / HOUR
            columns[next(names)] = F.least(F.coalesce(hours, F.lit(longest)), F.lit(longest))
    # all columns have one window, so that Spark sorts once
    return marked.withColumns(columns).where(F.col("_change").isNull()).drop("_at", "_change", "_end", "_value")
