"""Writes by Spark: whole days are replaced in one Delta commit, which notes its run and its inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from nightmill.lake.faults import translated
from nightmill.lake.lease import Lease
from nightmill.lake.tables import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROWS_PER_DAY_PARTITION = 1_000_000


def read(spark: SparkSession, table: Table, version: int | None = None) -> DataFrame:
    """The table as Spark sees it, pinned at a version."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    table.delta(version)  # a missing or unreadable table is refused with a clear error, before Spark tries
    with translated(table.uri):
        return reader.load(table.uri)


def replace(
    frame: DataFrame,
    table: Table,
    condition: str | None,
    note: dict[str, Any],
    lease: Lease,
    *,
    none_yet: bool = False,
    partition_by_day: bool = False,
    merge_schema: bool = False,
    searched: Sequence[str] = (),
) -> int:
    """Replaces the rows that meet `condition` by `frame` in one commit and returns the new version.

    Every row of `frame` must meet the condition; None replaces the whole table, its columns included, but keeps how it
    is partitioned. `none_yet` says that no row of the table meets it, so that rows are added without a search. `note`
    (run, step, inputs) is kept with the commit. `searched` are the columns of a new table by which readers skip
    files: Delta notes their smallest and largest values, instead of those of the first 32 columns.
    """
    first = not table.exists()
    mode = "append" if none_yet and not first else "overwrite"
    writer = frame.write.format("delta").mode(mode).option("userMetadata", json.dumps(note, default=str))
    if first:
        writer = writer.partitionBy("day") if partition_by_day else writer
        names = ",".join(f"`{name}`" for name in searched)
        writer = writer.option("delta.dataSkippingStatsColumns", names) if searched else writer
    elif condition is None:
        partitions = table.delta().metadata().partition_columns
        writer = writer.option("overwriteSchema", "true").partitionBy(*partitions)
    else:
        writer = writer if none_yet else writer.option("replaceWhere", condition)
        writer = writer.option("mergeSchema", "true") if merge_schema else writer
    lease.verify()
    with translated(table.uri):
        writer.save(table.uri)
    version = table.version()
    assert version is not None
    return version


def days_condition(days: Iterable[date], column: str = "day") -> str:
    """SQL condition that holds for exactly these days; runs of days become ranges, so the text stays short."""
    ranges: list[list[date]] = []
    for day in sorted(days):
        if ranges and (day - ranges[-1][1]).days == 1:
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    parts = [f"{column} = DATE'{a}'" if a == b else f"{column} BETWEEN DATE'{a}' AND DATE'{b}'" for a, b in ranges]
    return " OR ".join(parts) or "false"


def quoted(text: str) -> str:
    """A text as a literal of Spark's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def partition_by_day(rows: int, days: int) -> bool:
    """Whether a new table of that size is worth partitioning by day."""
    return days > 0 and rows / days >= ROWS_PER_DAY_PARTITION
