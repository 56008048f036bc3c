"""Writes drops: one file of a stable name per day and data set, through Hadoop's file systems, so object stores too."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Drops:
    """The files of one data set."""

    data_set: str
    """As in city/traffic: the folder under the raw folder."""
    file: str
    """File name; its ending is the format, csv or parquet."""
    rows: DataFrame
    """Records with `drop`, the day in whose folder each lies; several Spark partitions are fine."""
    columns: Sequence[str]
    """What is written, in this order."""
    order: Sequence[str]
    """Columns that order the records of a file, whether they are written or not."""
    truth: DataFrame | None = None
    """What is not as it should be in these files, as `dirt.plant` gives it; None where all is."""


def write(spark: SparkSession, raw: str, drops: Drops, days: Sequence[date]) -> list[str]:
    """Replaces `raw/data_set/day/` by one file for each of `days`; returns these folders.

    A day without records gets a csv file of a header alone: nothing happened, which is not the same as no drop.
    """
    raw = rooted(raw)
    folders = {day: f"{raw}/{drops.data_set}/{day}" for day in days}
    with _scratch(spark, raw) as scratch:
        _write_by_day(drops, scratch)
        for day, folder in folders.items():
            _replace(spark, f"{scratch}/drop={day}", folder, drops)
    return list(folders.values())


def write_static(spark: SparkSession, raw: str, data_set: str, file: str, rows: DataFrame) -> str:
    """Replaces `raw/data_set/` by one csv file; returns the folder. For tables without days."""
    raw, columns = rooted(raw), rows.columns
    with _scratch(spark, raw) as scratch:
        rows.coalesce(1).sortWithinPartitions(*columns).write.csv(scratch, header=True)
        _replace(spark, scratch, f"{raw}/{data_set}", Drops(data_set, file, rows, columns, columns))
    return f"{raw}/{data_set}"


def rooted(raw: str) -> str:
    """The raw folder without a slash at its end; local paths absolute, because the JVM has its own working folder."""
    return raw.rstrip("/") if "://" in raw else os.path.abspath(raw)


def _write_by_day(drops: Drops, scratch: str) -> None:
    # all records of a day meet in one partition, sorted by day: Spark then writes exactly one file per day
    sorted_rows = drops.rows.repartition("drop").sortWithinPartitions("drop", *drops.order)
    writer = sorted_rows.select("drop", *drops.columns).write.partitionBy("drop")
    if _format(drops) == "csv":
        writer.csv(scratch, header=True)
    else:
        writer.parquet(scratch)


def _replace(spark: SparkSession, written: str, folder: str, drops: Drops) -> None:
    """Moves the one data file of `written` to `folder`, in place of whatever lies there."""
    fs, path = _file_system(spark, folder)
    target = path(f"{folder}/{drops.file}")
    part = _part(fs, path(written))
    if part is None and _format(drops) != "csv":
        return
    fs.delete(path(folder), True)
    fs.mkdirs(path(folder))
    if part is None:
        stream = fs.create(target, True)
        stream.write(bytearray((",".join(drops.columns) + "\n").encode()))
        stream.close()
    else:
        fs.rename(part, target)
    # Hadoop's local checksum would make a drop that someone corrects by hand unreadable
    fs.delete(path(f"{folder}/.{drops.file}.crc"), False)


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
        fs, path = _file_system(spark, folder)
        fs.delete(path(folder), True)


def _file_system(spark: SparkSession, folder: str) -> tuple[Any, Any]:
    path = spark._jvm.org.apache.hadoop.fs.Path  # type: ignore[union-attr]
    return path(folder).getFileSystem(spark._jsc.hadoopConfiguration()), path


def _format(drops: Drops) -> str:
    return drops.file.rpartition(".")[2]
