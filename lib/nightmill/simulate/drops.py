"""Writes drops: one file of a stable name per day and data set, through Hadoop's file systems, so object stores too."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import lines
from nightmill.simulate.places import file_system, rooted

Change = Callable[[DataFrame], DataFrame]
"""What something that goes wrong makes of clean rows: the same columns."""


def as_it_is(rows: DataFrame) -> DataFrame:
    """The change of nothing that goes wrong."""
    return rows


@dataclass(frozen=True)
class Drops:
    """The files of one data set."""

    data_set: str
    """As in city/traffic: the folder under the raw folder."""
    file: str
    """File name; its ending is the format: csv, csv.gz, json (one object a line) or parquet."""
    rows: DataFrame
    """Records with `drop`, the day in whose folder each lies, and perhaps `malformed`; several partitions are fine."""
    columns: Sequence[str]
    """What is written, in this order."""
    order: Sequence[str]
    """Columns that order the records of a file, whether they are written or not."""
    truth: DataFrame | None = None
    """What is not as it should be in these files, as `dirt.plant` gives it; None where all is."""
    header: Sequence[str] = ()
    """Names of the columns in the file; without it their own."""
    separator: str = ","
    """Between the fields of csv."""
    damage: Sequence[str] = ()
    """Kinds of `damage.KINDS` that befall whole files of this data set."""

    @property
    def form(self) -> str:
        """csv, json or parquet."""
        return self.file.removesuffix(".gz").rpartition(".")[2]

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns in the file."""
        return self.header or self.columns


@dataclass(frozen=True)
class Master:
    """A table without days: one csv file."""

    data_set: str
    file: str
    rows: DataFrame


def write(spark: SparkSession, raw: str, drops: Drops, days: Sequence[date]) -> list[str]:
    """Replaces `raw/data_set/day/` by one file for each of `days`; returns these folders.

    A day without records gets a csv file of a header alone: nothing happened, which is not the same as no drop.
    """
    raw = rooted(raw)
    folders = {day: f"{raw}/{drops.data_set}/{day}" for day in days}
    with _scratch(spark, raw) as scratch:
        _write_by_day(spark, drops, days, scratch)
        for day, folder in folders.items():
            _replace(spark, f"{scratch}/drop={day}", folder, drops.file)
    return list(folders.values())


def write_static(spark: SparkSession, raw: str, master: Master) -> str:
    """Replaces `raw/data_set/` by one csv file; returns the folder."""
    raw, columns = rooted(raw), master.rows.columns
    with _scratch(spark, raw) as scratch:
        master.rows.coalesce(1).sortWithinPartitions(*columns).write.csv(scratch, header=True)
        _replace(spark, scratch, f"{raw}/{master.data_set}", master.file)
    return f"{raw}/{master.data_set}"


def _write_by_day(spark: SparkSession, drops: Drops, days: Sequence[date], scratch: str) -> None:
    # all records of a day meet in one partition, sorted by day: Spark then writes exactly one file per day
    if drops.form == "parquet":
        sorted_rows = drops.rows.repartition("drop").sortWithinPartitions("drop", *drops.order)
        sorted_rows.select("drop", *drops.columns).write.partitionBy("drop").parquet(scratch)
        return
    rows = drops.rows.withColumn("_line", lines.line(drops.form, drops.columns, drops.names, drops.separator))
    if "malformed" in rows.columns:
        bad = lines.broken(drops.form, F.col("_line"), drops.separator)
        rows = rows.withColumn("_line", F.when(F.col("malformed"), bad).otherwise(F.col("_line")))
    keys = {f"_key{n}": F.col(name) for n, name in enumerate(drops.order)}
    ordered = rows.select("drop", F.lit(1).alias("_part"), *[c.alias(name) for name, c in keys.items()], "_line")
    if drops.form == "csv":
        ordered = ordered.unionByName(_heads(spark, drops, days), allowMissingColumns=True)
    sorted_lines = ordered.repartition("drop").sortWithinPartitions("drop", "_part", *keys, "_line")
    compression = "gzip" if drops.file.endswith(".gz") else "none"
    sorted_lines.select("drop", "_line").write.partitionBy("drop").option("compression", compression).text(scratch)


def _heads(spark: SparkSession, drops: Drops, days: Sequence[date]) -> DataFrame:
    """The first line of each day's file, whether there are records or not."""
    head: Column = F.lit(drops.separator.join(drops.names))
    each = F.explode(F.array(*map(F.lit, days)))
    return spark.range(1).select(each.alias("drop"), F.lit(0).alias("_part"), head.alias("_line"))


def _replace(spark: SparkSession, written: str, folder: str, file: str) -> None:
    """Moves the one data file of `written` to `folder`, in place of whatever lies there."""
    fs, path = file_system(spark, folder)
    part = _part(fs, path(written))
    if part is None:
        return
    fs.delete(path(folder), True)
    fs.mkdirs(path(folder))
    fs.rename(part, path(f"{folder}/{file}"))
    # Hadoop's local checksum would make a drop that someone corrects by hand unreadable
    fs.delete(path(f"{folder}/.{file}.crc"), False)


def _part(fs: Any, folder: Any) -> Any:
    found = [s.getPath() for s in fs.listStatus(folder)] if fs.exists(folder) else []
    parts = [p for p in found if p.getName().startswith("part-")]
    assert len(parts) <= 1, f"{len(parts)} files for one drop in {folder}"
    return parts[0] if parts else None


@contextmanager
def _scratch(spark: SparkSession, raw: str) -> Iterator[str]:
    """A folder beside the drops, so that moving a file out of it is a rename; hidden from readers, gone afterwards."""
    folder = f"{raw}/.simulate-{uuid.uuid4().hex}"
    try:
        yield folder
    finally:
        fs, path = file_system(spark, folder)
        fs.delete(path(folder), True)
