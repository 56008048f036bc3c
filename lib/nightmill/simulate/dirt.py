"""Known dirt: what recorders, networks and people do to clean rows, planted with a truth table of every case.

A row gets at most one kind, so that what a rule finds can be compared with what was planted one to one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nightmill.simulate.chance import Chance

RATES = {
    "duplicate": 0.003,
    "superseded": 0.002,
    "out_of_range": 0.002,
    "not_a_number": 0.001,
    "missing_value": 0.003,
    "missing_step": 0.002,
    "late": 0.002,
}
"""Share of clean rows that each kind befalls.

duplicate: the same record twice in one file. superseded: a wrong but possible value, which a `correction` in the next
day's drop replaces. out_of_range, not_a_number, missing_value: the value itself is spoilt. missing_step: the record is
nowhere. late: the record is `delayed` here and comes with the next day's drop.
"""
KINDS = (*RATES, "correction", "delayed")
"""All that a truth table may name; late there means that the record arrives."""
TRUTH = ("data_set", "kind", "entity", "ts", "file")
"""Columns of a truth table."""
SPOILT = ("superseded", "out_of_range", "not_a_number", "missing_value")
"""Kinds that replace the value; the others keep it."""


@dataclass(frozen=True)
class Soil:
    """Where dirt falls: one column of one data set."""

    data_set: str
    """As in city/traffic."""
    file: str
    """Name of each day's file."""
    entity: str
    """Column that names the entity."""
    column: str
    """Column that is spoilt."""
    spoilt: dict[str, Column]
    """What becomes of the column by kind of SPOILT, in the column's type; kinds that its format cannot show are left
    out."""


def plant(clean: DataFrame, soil: Soil, first: date, days: int, chance: Chance) -> tuple[DataFrame, DataFrame]:
    """The records in the drops of `days` days from `first` on, and the truth about them.

    `clean` has entity, ts (UTC), day and the values, from the day before `first` on: late records and corrections are
    of that day. Records: these columns and `drop`, the day in whose file the record lies. Truth: TRUTH and `drop`, one
    row per planted case; pairs count twice, once in each drop: superseded and correction, delayed and late.
    """
    wanted = F.col("drop").between(F.lit(first), F.lit(first + timedelta(days=days - 1)))
    records = _soiled(clean, soil, chance).where(wanted & F.col("present"))
    # the truth needs no values: without them Spark need not compute any
    bare = clean.select(soil.entity, "ts", "day", F.lit(None).alias(soil.column))
    missed = replace(soil, spoilt={kind: F.lit(None) for kind in soil.spoilt})
    truth = _soiled(bare, missed, chance).where(wanted & F.col("dirt").isNotNull())
    return records.drop("dirt", "present"), truth.select(
        F.lit(soil.data_set).alias("data_set"),
        F.col("dirt").alias("kind"),
        F.col(soil.entity).alias("entity"),
        F.date_format("ts", "yyyy-MM-dd'T'HH:mm:ss'Z'").alias("ts"),
        F.concat_ws("/", F.lit(soil.data_set), F.col("drop").cast("string"), F.lit(soil.file)).alias("file"),
        "drop",
    )


def _soiled(clean: DataFrame, soil: Soil, chance: Chance) -> DataFrame:
    """Adds drop, dirt (kind or null) and present (false where the dirt is that the record is absent)."""
    day, next_day, value = F.col("day"), F.date_add("day", 1), F.col(soil.column)

    def record(drop: Column, written: Column, dirt: str | None, present: bool = True) -> Column:
        return F.struct(
            drop.alias("drop"), written.alias("written"), F.lit(dirt).alias("dirt"), F.lit(present).alias("present")
        )

    outcomes = {
        "duplicate": [record(day, value, None), record(day, value, "duplicate")],
        "missing_step": [record(day, value, "missing_step", present=False)],
        "late": [record(day, value, "delayed", present=False), record(next_day, value, "late")],
    }
    outcomes |= {kind: [record(day, written, kind)] for kind, written in soil.spoilt.items()}
    if "superseded" in outcomes:
        outcomes["superseded"].append(record(next_day, value, "correction"))
    records = F.array(record(day, value, None))
    for kind, outcome in outcomes.items():
        records = F.when(F.col("kind") == kind, F.array(*outcome)).otherwise(records)
    kept = [name for name in clean.columns if name != soil.column]
    return (
        clean.withColumn("kind", _kind(chance.uniform(f"dirt/{soil.data_set}", F.col(soil.entity), F.col("ts"))))
        .withColumn("record", F.explode(records))
        .select(*kept, F.col("record.written").alias(soil.column), "record.drop", "record.dirt", "record.present")
    )


def _kind(uniform: Column) -> Column:
    kind, upper = F.lit(None).cast("string"), sum(RATES.values())
    for name, rate in reversed(RATES.items()):
        kind = F.when(uniform < upper, name).otherwise(kind)
        upper -= rate
    return kind
