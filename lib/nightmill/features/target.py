"""The target of each gold row: the series' own value (a forecast looks ahead in it), or the steps until failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.config import UseCase

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightmill.features.stage import Inputs


def add_target(use_case: UseCase, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds `target`, null where it is not known: filled values are inputs, never truth."""
    life = use_case.target.remaining_life
    if life is None:
        value = F.col(f"`{use_case.target.column}`")
        return rows.withColumn("target", F.when(~F.col("_filled"), value))
    rows = _until(rows, inputs, life.until) if life.until else _rest(rows, inputs, str(life.rest))
    return rows.withColumn("target", F.least(F.col("target"), F.lit(life.cap)) if life.cap else F.col("target"))


def _steps(inputs: Inputs, later: Column, earlier: Column) -> Column:
    every = inputs.time.every.total_seconds() * 1_000_000
    return (F.unix_micros(later) - F.unix_micros(earlier)) / every


def _until(rows: DataFrame, inputs: Inputs, name: str) -> DataFrame:
    """Steps until the entity's next failure event at or after the row."""
    events = inputs.events(name).select(F.col("entity").alias("_e"), F.col("ts").alias("_at"))
    marked = rows.select("*", F.lit(None).cast("timestamp").alias("_at")).unionByName(
        events.select(F.col("_e").alias("entity"), F.col("_at").alias("ts"), "_at"), allowMissingColumns=True
    )
    ahead = Window.partitionBy("entity").orderBy("ts").rangeBetween(Window.currentRow, Window.unboundedFollowing)
    following = F.first("_at", ignorenulls=True).over(ahead)
    return (
        marked.withColumn("target", _steps(inputs, following, F.col("ts")))
        .where(F.col("_at").isNull())
        .drop("_at")
    )


def _rest(rows: DataFrame, inputs: Inputs, name: str) -> DataFrame:
    """Steps until the entity's last row, and those that a static input says remained after it."""
    rest = inputs.static(name).select(F.col("entity").alias("_e"), F.col("remaining").alias("_remaining"))
    last = F.max("ts").over(Window.partitionBy("entity"))
    joined = rows.join(F.broadcast(rest), F.col("_e") == F.col("entity"), "left")
    steps = _steps(inputs, last, F.col("ts")) + F.coalesce("_remaining", F.lit(0))
    return joined.withColumn("target", steps).drop("_e", "_remaining")
