"""What a column usually is at a time of day: its middle over the last days that are like the one in question.

The similar-day method of load forecasting, as in Weron 2006, "Modeling and Forecasting Electricity Loads and Prices",
section 3.4.1.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.config.features import WEEK, SimilarDays
from nightmill.features.calendar import is_holiday
from nightmill.features.inputs import micros

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: SimilarDays, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the middle of the values known at t, of the last days of the sort and at the local time of t + ahead.

    Null where none is known. Each row asks what rows up to its own have told; both are one table, sorted once.
    """
    time, (name,) = F.unix_micros("ts"), feature.names
    value = F.col(f"`{feature.of}`").cast("double")
    own, then = F.lit(0), F.lit(micros(feature.ahead or timedelta(0)))
    told = rows.where(value.isNotNull()).select(
        "entity", *_place(feature, inputs, own), F.struct(time.alias("at"), value.alias("value")).alias("_known")
    )
    same = Window.partitionBy("entity", "_sort", "_minute")
    last = same.orderBy("_at").rowsBetween(1 - feature.days, 0)
    told = told.withColumn("_at", F.col("_known.at")).withColumn("_known", F.collect_list("_known").over(last))
    asked = rows.select("*", *_place(feature, inputs, then)).withColumn("_at", time)
    both = asked.withColumn("_asks", F.lit(True)).unionByName(
        told.withColumn("_asks", F.lit(False)), allowMissingColumns=True
    )
    upto = same.orderBy("_at", "_asks").rowsBetween(Window.unboundedPreceding, 0)
    known = F.last("_known", ignorenulls=True).over(upto)
    oldest = F.col("_at") - micros(feature.within)
    recent = F.transform(F.filter("_known", lambda one: one["at"] > oldest), lambda one: one["value"])
    answered = both.withColumn("_known", known).where("_asks")
    found = F.when(F.col("_sort").isNotNull(), _middle(feature.take, recent))
    return answered.withColumn(name, found).drop("_sort", "_minute", "_known", "_at", "_asks")


def _place(feature: SimilarDays, inputs: Inputs, later: Column) -> list[Column]:
    """Of the time so many µs after each row: its sort of day, null for none, and its local minute of the day."""
    local = F.from_utc_timestamp(F.timestamp_micros(F.unix_micros("ts") + later), inputs.time.zone)
    sorts = {day: number for number, group in enumerate(feature.groups) for day in group}
    sort = F.get(F.array(*[F.lit(sorts.get(day)).cast("int") for day in WEEK]), F.weekday(local))
    if "holiday" in sorts:
        sort = F.when(is_holiday(local, inputs), F.lit(sorts["holiday"])).otherwise(sort)
    return [sort.alias("_sort"), (F.hour(local) * 60 + F.minute(local)).alias("_minute")]


def _middle(how: str, values: Column) -> Column:
    count = F.size(values)
    if how == "mean":
        total = F.aggregate(values, F.lit(0.0), lambda sum_, one: sum_ + one)
        return F.when(count > 0, total / count)
    ordered, half = F.sort_array(values), F.floor((count - 1) / 2).cast("int")
    lower, upper = F.get(ordered, half), F.get(ordered, count - 1 - half)
    return (lower + upper) / 2
