"""The target of each gold row: the series' own value (a forecast looks ahead in it), the steps until failure, or
whether something happens soon."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.config import UseCase
from nightmill.features.inputs import micros

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightmill.features.inputs import Inputs


AGE = "age"
"""Steps that an entity has lived at a row, the row included: what the mean-life baseline needs. Only for lives."""


def extra_names(use_case: UseCase) -> list[str]:
    """Columns that gold has beside features and target."""
    return [AGE] if use_case.target.remaining_life else []


def add_target(use_case: UseCase, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds `target`, null where it is not known: filled values are inputs, never truth."""
    life, event = use_case.target.remaining_life, use_case.target.event
    if event is not None:
        return _soon(rows, inputs, event.of, event.within)
    if life is None:
        value = _position(use_case, rows) if use_case.target.column else F.lit(None).cast("float")
        return rows.withColumn("target", F.when(~F.col("_filled"), value))
    rows = _until(rows, inputs, life.until, life.cap) if life.until else _rest(rows, inputs, str(life.rest))
    rows = rows.withColumn(AGE, _steps(inputs, F.col("ts"), F.col("_born")) + 1).drop("_born")
    # an unknown life stays unknown: F.least alone would make it the cap
    return rows.withColumn(
        "target",
        F.when(F.col("target") > life.cap, life.cap).otherwise(F.col("target")) if life.cap else F.col("target"),
    )


def _position(use_case: UseCase, rows: DataFrame) -> Column:
    """The target column, of classes by name their position; null where it is none of them."""
    column, classes = F.col(f"`{use_case.target.column}`"), use_case.target.classes
    if not classes or rows.schema[str(use_case.target.column)].dataType.typeName() != "string":
        return column
    place = F.array_position(F.array(*map(F.lit, classes)), column)
    return F.when(place > 0, place - 1)


def _steps(inputs: Inputs, later: Column, earlier: Column) -> Column:
    every = micros(inputs.time.every)
    return (F.unix_micros(later) - F.unix_micros(earlier)) / every


def _until(rows: DataFrame, inputs: Inputs, name: str, cap: int | None) -> DataFrame:
    """Steps until the entity's next failure event at or after the row.

    Where none has come yet, the row has lived at least until the last time that the series knows: from `cap` steps on
    that is the cap itself, before that the target is not known.
    """
    events = inputs.events(name).select(F.col("entity").alias("_e"), F.col("ts").alias("_at"))
    marked = rows.select("*", F.lit(None).cast("timestamp").alias("_at")).unionByName(
        events.select(F.col("_e").alias("entity"), F.col("_at").alias("ts"), "_at"), allowMissingColumns=True
    )
    by_time = Window.partitionBy("entity").orderBy(F.unix_micros("ts"))
    ahead = by_time.rangeBetween(Window.currentRow, Window.unboundedFollowing)
    before = by_time.rangeBetween(Window.unboundedPreceding, -1)
    every = round(inputs.time.every.total_seconds())
    following = F.first("_at", ignorenulls=True).over(ahead)
    repaired = F.last("_at", ignorenulls=True).over(before) + F.make_dt_interval(secs=F.lit(every))
    first = F.min("ts").over(Window.partitionBy("entity"))
    target = _steps(inputs, following, F.col("ts"))
    if cap is not None:
        now = rows.agg(F.max("ts")).first()
        lived = _steps(inputs, F.lit(now[0] if now else None).cast("timestamp"), F.col("ts"))
        target = F.coalesce(target, F.when(lived >= cap, F.lit(float(cap))))
    return (
        marked.select("*", target.alias("target"), F.coalesce(repaired, first).alias("_born"))
        .where(F.col("_at").isNull())
        .drop("_at")
    )


def _soon(rows: DataFrame, inputs: Inputs, name: str, span: timedelta) -> DataFrame:
    """1 where an event follows within the span, 0 where none does, null where that is not known yet."""
    key, within = [f"`{column}`" for column in inputs.shared(name)], micros(span)
    events = inputs.around(name, ahead=span).select(*key, F.unix_micros("ts").alias("_at"), F.lit(True).alias("_event"))
    marked = rows.withColumn("_at", F.unix_micros("ts")).unionByName(events, allowMissingColumns=True)
    ahead = Window.partitionBy(*key).orderBy("_at").rangeBetween(1, within)
    known = F.col("_at") + within <= F.lit(inputs.until)
    target = F.when(F.max("_event").over(ahead), 1.0).otherwise(F.when(known, 0.0))
    return marked.withColumn("target", target).where(F.col("_event").isNull()).drop("_at", "_event")


def _rest(rows: DataFrame, inputs: Inputs, name: str) -> DataFrame:
    """Steps until the entity's last row, and those that a static input says remained after it."""
    rest = inputs.static(name).select(F.col("entity").alias("_e"), F.col("remaining").alias("_remaining"))
    last, first = (f("ts").over(Window.partitionBy("entity")) for f in (F.max, F.min))
    joined = rows.join(F.broadcast(rest), F.col("_e") == F.col("entity"), "left")
    steps = _steps(inputs, last, F.col("ts")) + F.coalesce("_remaining", F.lit(0))
    return joined.select("*", steps.alias("target"), first.alias("_born")).drop("_e", "_remaining")
