"""Fills short gaps of a series within each entity's local day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.clean.sequence import in_order
from nightmill.config import DataSet, Time
from nightmill.config.values import Months
from nightmill.lake.contract import local_day

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

FILLED = "_filled"
"""Whether a row stands in a gap."""


def filled(data_set: DataSet, silver: DataFrame) -> DataFrame:
    """Adds the missing steps of gaps that are short enough, with `_filled` true; other rows stay as they are.

    Numbers lie on the straight line between the neighbours or repeat the last one; texts repeat the last one.
    """
    gaps, time = data_set.clean.gaps, data_set.contract.time
    if gaps is None or time is None:
        return silver.withColumn(FILLED, F.lit(False))
    order = in_order(data_set)
    numbers = [n for n, c in data_set.contract.columns.items() if c.type == "float" and gaps.fill == "interpolate"]
    stepped = silver.select(
        "*",
        F.lead("ts").over(order).alias("_next"),
        *[F.lead(F.col(f"`{name}`")).over(order).alias(f"_next_{name}") for name in numbers],
    ).withColumn("_gap", _steps_between(time, F.col("ts"), F.col("_next")))
    longest = max(1, round(gaps.at_most / time.every)) if isinstance(time.every, Months) else gaps.at_most // time.every
    short = F.col("_gap").between(2, longest + 1)
    steps = F.when(short, F.sequence(F.lit(0), F.col("_gap") - 1)).otherwise(F.array(F.lit(0).cast("bigint")))
    rows = stepped.withColumn("_step", F.explode(steps))
    share, added = F.col("_step") / F.col("_gap"), F.col("_step") > 0
    values = {
        name: F.when(added, F.col(f"`{name}`") + (F.col(f"_next_{name}") - F.col(f"`{name}`")) * share).otherwise(
            F.col(f"`{name}`")
        )
        for name in numbers
    }
    ts = _later(time, F.col("ts"), F.col("_step"))
    values |= {"day": local_day(data_set, ts)} if time.is_daily else {}
    none: dict[str, Expression] = {
        name: F.when(~added, F.col(name)) for name in ("_file", "_changed", "_merged") if name in silver.columns
    }
    values |= none
    return rows.select(
        *[values.get(name, F.col(f"`{name}`")).alias(name) for name in silver.columns if name != "ts"],
        ts.alias("ts"),
        added.alias(FILLED),
    )


def _steps_between(time: Time, first: Expression, second: Expression) -> Expression:
    """Whole steps from one time to the next, null where they are not a whole number."""
    if isinstance(time.every, Months):
        months = F.months_between(F.from_utc_timestamp(second, time.zone), F.from_utc_timestamp(first, time.zone))
        steps = months / time.every.count
        return F.when(steps == F.floor(steps), F.floor(steps))
    every = round(time.every.total_seconds() * 1_000_000)
    apart = F.unix_micros(second) - F.unix_micros(first)
    if time.is_daily and time.zone != "UTC":  # local days, of which two a year have 23 or 25 hours
        apart = F.unix_micros(F.from_utc_timestamp(second, time.zone)) - F.unix_micros(
            F.from_utc_timestamp(first, time.zone)
        )
    return F.when(apart % every == 0, F.floor(apart / every))


def _later(time: Time, ts: Expression, steps: Expression) -> Expression:
    if isinstance(time.every, Months):
        local = F.from_utc_timestamp(ts, time.zone)
        return F.to_utc_timestamp(
            F.add_months(local, (steps * time.every.count).cast("int")).cast("timestamp"), time.zone
        )
    every = F.lit(round(time.every.total_seconds() * 1_000_000))
    if time.is_daily and time.zone != "UTC":
        local = F.timestamp_micros(F.unix_micros(F.from_utc_timestamp(ts, time.zone)) + steps * every)
        return F.to_utc_timestamp(local, time.zone)
    return F.timestamp_micros(F.unix_micros(ts) + steps * every)
