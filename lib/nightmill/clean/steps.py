"""Records become rows of the contract's step: merged where there are several, counted where they are events."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.clean.records import CHANGED
from nightmill.config import DataSet
from nightmill.config.values import Months
from nightmill.lake.contract import local_day

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

_MONDAY = date(1970, 1, 5)
MERGED = "_merged"
"""How many records a row was made of."""


def step_begin(data_set: DataSet, ts: Expression, day: Expression) -> Expression:
    """The begin of the step in which a UTC time lies: steps count from local midnight, days from Monday, 5 January
    1970, months from their first day.
    """
    time = data_set.contract.time
    assert time is not None
    if time.is_daily:
        if isinstance(time.every, Months):
            number = F.year(day) * 12 + F.month(day) - 1
            first = F.floor(number / time.every.count) * time.every.count
            begin = F.make_date(F.floor(first / 12).cast("int"), (first % 12 + 1).cast("int"), F.lit(1))
        else:
            since = F.datediff(day, F.lit(_MONDAY))
            begin = F.date_add(F.lit(_MONDAY), (F.floor(since / time.every.days) * time.every.days).cast("int"))
        return F.to_utc_timestamp(begin.cast("timestamp"), time.zone)
    midnight = F.unix_micros(F.to_utc_timestamp(day.cast("timestamp"), time.zone))
    every = F.lit(round(time.every.total_seconds() * 1_000_000))
    return F.timestamp_micros(F.floor((F.unix_micros(ts) - midnight) / every) * every + midnight)


def resampled(data_set: DataSet, rows: DataFrame) -> DataFrame:
    """One row per entity and step."""
    how, contract = data_set.clean.resample, data_set.contract
    entity = [F.col(f"`{name}`") for name in contract.entity]
    begin = step_begin(data_set, F.col("ts"), F.col("day"))
    merged = []
    for name in (name for name in data_set.kept if name not in contract.entity):
        number = contract.column(name).type in ("float", "int")
        asked = how.get(name, "last") if isinstance(how, dict) else str(how) if number else "last"
        merged.append(_merge(name, asked, contract.column(name).type).alias(name))
    changed = F.concat_ws("; ", F.array_sort(F.collect_set(CHANGED)))
    grouped = rows.withColumn("_begin", begin).groupBy(*entity, "_begin")
    made = grouped.agg(
        *merged,
        F.max("_file").alias("_file"),
        F.when(changed != "", changed).alias(CHANGED),
        F.count("*").alias(MERGED),
    )
    return made.withColumnRenamed("_begin", "ts").withColumn("day", local_day(data_set, F.col("ts")))


def _merge(name: str, how: str, kind: str) -> Expression:
    value = F.col(f"`{name}`")
    if how == "last":
        return F.max_by(value, F.when(value.isNotNull(), F.col("ts")))
    if how == "first":
        return F.min_by(value, F.when(value.isNotNull(), F.col("ts")))
    found = {"mean": F.avg, "sum": F.sum, "min": F.min, "max": F.max, "median": F.median}[how](value)
    return F.round(found).cast("bigint") if kind == "int" else found


def counted(data_set: DataSet, rows: DataFrame) -> DataFrame:
    """The number of events per entity and step, zeros included: for every entity of the grid, or every one seen.

    Days with fewer events than `events.at_least` get no rows.
    """
    events, contract = data_set.clean.events, data_set.contract
    assert events is not None and contract.time is not None
    entity = contract.entity
    begun = rows.withColumn("ts", step_begin(data_set, F.col("ts"), F.col("day")))
    names = [F.col(f"`{name}`") for name in entity]
    found = begun.groupBy(*names, "day", "ts").agg(F.count("*").alias(events.count))
    days = rows.groupBy("day").count().where(F.col("count") >= events.at_least).select("day")
    if events.grid:
        x, y = events.grid.x.parts, events.grid.y.parts
        cells = [(f"{column}-{row}",) for column in range(x) for row in range(y)]
        everyone = rows.sparkSession.createDataFrame(cells, f"`{entity[0]}` string")
    else:
        everyone = rows.select(*names).distinct()
    everywhere = days.select("day", F.explode(_steps_of_day(data_set)).alias("ts")).crossJoin(F.broadcast(everyone))
    keys = [*entity, "day", "ts"]
    full = everywhere.join(found, keys, "left")
    return full.withColumn(events.count, F.coalesce(F.col(f"`{events.count}`"), F.lit(0).cast("bigint")))


def _steps_of_day(data_set: DataSet) -> Expression:
    time = data_set.contract.time
    assert time is not None
    begin = F.to_utc_timestamp(F.col("day").cast("timestamp"), time.zone)
    end = F.to_utc_timestamp(F.date_add("day", 1).cast("timestamp"), time.zone)
    step = F.expr(f"INTERVAL {round(time.every.total_seconds() * 1000)} MILLISECONDS")
    return F.sequence(begin, end - F.expr("INTERVAL 1 MICROSECOND"), step)
