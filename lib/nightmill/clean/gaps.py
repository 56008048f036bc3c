"""Fills short gaps of a series within each entity's local day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.config import DataSet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def filled(data_set: DataSet, silver: DataFrame) -> DataFrame:
    """Adds the missing steps of gaps that are short enough, with `_filled` true; other rows stay as they are.

    Numbers lie on the straight line between the neighbours or repeat the last one; texts repeat the last one.
    """
    gaps, time = data_set.clean.gaps, data_set.contract.time
    if gaps is None or time is None:
        return silver.withColumn("_filled", F.lit(False))
    every = round(time.every.total_seconds() * 1_000_000)
    longest = round(gaps.at_most.total_seconds() * 1_000_000) // every
    entity = [F.col(f"`{name}`") for name in data_set.contract.entity]
    in_day = Window.partitionBy(*entity, "day").orderBy("ts")
    micros = F.unix_micros("ts")
    numbers = [n for n, c in data_set.contract.columns.items() if c.type == "float" and gaps.fill == "interpolate"]
    stepped = silver.select(
        "*",
        F.lead(micros).over(in_day).alias("_next"),
        *[F.lead(F.col(f"`{name}`")).over(in_day).alias(f"_next_{name}") for name in numbers],
    ).withColumn("_gap", F.expr(f"(_next - unix_micros(ts)) div {every}"))
    aligned = (F.col("_next") - micros) % every == 0
    short = aligned & F.col("_gap").between(2, longest + 1)
    steps = F.when(short, F.sequence(F.lit(0), F.col("_gap") - 1)).otherwise(F.array(F.lit(0)))
    rows = stepped.withColumn("_step", F.explode(steps))
    share = F.col("_step") / F.col("_gap")
    values = {
        name: F.when(
            F.col("_step") > 0, F.col(f"`{name}`") + (F.col(f"_next_{name}") - F.col(f"`{name}`")) * share
        ).otherwise(F.col(f"`{name}`"))
        for name in numbers
    }
    return rows.select(
        *[values.get(name, F.col(f"`{name}`")).alias(name) for name in silver.columns if name != "ts"],
        F.timestamp_micros(micros + F.col("_step") * every).alias("ts"),
        (F.col("_step") > 0).alias("_filled"),
    )
