"""The stage `land`: a drop's new and corrected files become bronze records."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, StringType, StructField, StructType

from nightmill.config import DataSet
from nightmill.errors import DataRefused, MachineError, WorkFailed
from nightmill.ingest.drop import RawFile, find_days, name_groups
from nightmill.ingest.layout import Groups, Refusal, layouts
from nightmill.ingest.parquet import Types, held_types
from nightmill.ingest.parse import UNREADABLE
from nightmill.ingest.protect import protected, require_key
from nightmill.ingest.pull import pull
from nightmill.ingest.read import CORRUPT, frame, no_records, union
from nightmill.lake.contract import record_day
from nightmill.lake.faults import translate
from nightmill.lake.landed import landed_files, landing, note_files, require_current
from nightmill.lake.quarantine import held_files, refuse_files, release_files
from nightmill.lake.run import Step
from nightmill.lake.tables import Table
from nightmill.lake.writes import partition_by_day, quoted, read, replace
from nightmill.spark import Start

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


@dataclass
class Landed:
    """What a drop brought."""

    data_set: str
    days: list[date]
    files: int = 0
    records: int = 0
    known: int = 0
    """Files that had landed before with the same content."""
    corrected: int = 0
    """Files that replaced an earlier content of the same name."""
    refused: dict[str, str] = field(default_factory=dict)
    """File -> why it could not be read; it is in quarantine."""
    waiting: int = 0
    """Those of them that were in quarantine before, for the same reason."""
    version: int | None = None


@dataclass
class _Work:
    """One landing: what it is of, and what is there already."""

    start: Start
    step: Step
    data_set: DataSet
    raw: str
    bronze: Table
    known: dict[str, str]
    """Files in bronze, with the hash of their content."""

    @cached_property
    def spark(self) -> SparkSession:
        """Started where there is something to land."""
        return self.start()

    @cached_property
    def types(self) -> Types:
        """Bronze's columns and their types."""
        return held_types(pa.schema(self.bronze.delta().schema().to_arrow())) if self.bronze.exists() else {}


@dataclass
class _Drop:
    """What is new in a drop."""

    files: list[RawFile] = field(default_factory=list)
    """Files that have not landed before with this content."""
    groups: Groups = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    known: int = 0
    """How many files had landed before."""
    records: int = 0
    pulled: list[DataFrame] = field(default_factory=list)
    """The new rows of a table that was asked, day by day; none where they lie in files."""

    @property
    def good(self) -> list[RawFile]:
        """Files with records that can land."""
        return [file for group in self.groups.values() for file in group]


def land(start: Start, step: Step, data_set: DataSet, raw: str, days: list[date]) -> Landed:
    """Lands the drops of these days; files that landed before are skipped, a known name with new content replaces.

    Raises DataRefused where there is no drop, or where no file of it can be read.
    """
    require_key(data_set)
    bronze = step.lake.table("bronze", data_set.name)
    require_current(bronze, data_set)
    work = _Work(start, step, data_set, raw, bronze, landed_files(step, bronze))
    result = Landed(data_set.name, days, version=bronze.version())
    with ExitStack() as held:
        drop = _pulled(work, days, held) if data_set.source.is_pulled else _found(work, days)
        result.known = drop.known
        if drop.files:
            _write(work, drop, result)
        else:
            log.info("%s: all %d files of the drop had landed before", data_set.name, drop.known)
    return result


def _pulled(work: _Work, days: list[date], held: ExitStack) -> _Drop:
    """What a table has for these days; each day counts as one file, known by its content."""
    drop, data_set = _Drop(), work.data_set
    for day in days if data_set.source.by_day else [max(days)]:
        rows, file, layout, records = pull(work.spark, data_set, work.raw, day, work.types, held)
        if work.known.get(file.name) == file.hash:
            drop.known += 1
            continue
        drop.files.append(file)
        if records:
            drop.groups.setdefault(layout, []).append(file)
            drop.pulled.append(rows)
        drop.records += records
    return drop


def _found(work: _Work, days: list[date]) -> _Drop:
    """The new files of these days' drops."""
    data_set = work.data_set
    files = find_days(data_set, work.raw, days)
    before = {_content(data_set, name, digest) for name, digest in work.known.items()}
    fresh = [f for f in _once(data_set, files) if _content(data_set, f.name, f.hash) not in before]
    drop = _Drop(fresh, known=len(files) - len(fresh))
    if fresh:
        drop.groups, drop.refused = layouts(work.start, data_set, fresh, work.types)
        if not data_set.source.may_be_empty:
            there = {file.name for files in drop.groups.values() for file in files} | {*drop.refused, *work.known}
            empty = [file.name for file in fresh if file.name not in there]  # a known one was corrected to nothing
            drop.refused |= dict.fromkeys(empty, Refusal("unreadable_file", "it is empty"))
        if drop.groups:
            drop.records, drop.groups = _count(work.spark, data_set, drop.groups, drop.refused)
    return drop


def _write(work: _Work, drop: _Drop, result: Landed) -> None:
    """Refused files go into quarantine, the records of the others into bronze, in one commit."""
    data_set, bronze, known = work.data_set, work.bronze, work.known
    result.refused = {name: refusal.reason for name, refusal in drop.refused.items()}
    for name, why in result.refused.items():
        log.warning("%s: %s is refused: %s", data_set.name, name, why)
    held = held_files(work.step.lake, data_set.name) if drop.refused else {}
    refused = [f for f in drop.files if f.name in drop.refused]
    fresh = [f for f in refused if held.get(f.name) != (f.hash, drop.refused[f.name].reason)]
    result.waiting = len(refused) - len(fresh)
    if fresh:
        work.step.begin()
        refuse_files(work.step, data_set.name, fresh, drop.refused)
    good, first = drop.good, drop.files[0].name
    if not good and drop.refused and drop.known:
        return  # the drop's good files had landed before
    if not good and drop.refused:
        name, why = next(iter(result.refused.items()))
        raise DataRefused(
            f"no file of the drop of {data_set.name} can be read: {why}",
            where=f"{work.raw}/{name}",
            fix="deliver the drop again, or change the data set's source and contract",
        )
    if not drop.records and not data_set.source.may_be_empty:
        what = "holds no record" if good else "is empty"
        where = first if data_set.source.is_pulled else f"{work.raw}/{first}"
        raise DataRefused(f"the drop of {data_set.name} {what}", where=where, fix="deliver the drop again")
    emptied = [f for f in drop.files if f.name in known and f.name not in drop.refused and f not in good]
    result.files, result.records = len(good), drop.records
    result.corrected = sum(file.name in known for file in good) + len(emptied)
    if not drop.records and not result.corrected and bronze.exists():
        return  # of rare events there was none
    work.step.begin()
    # a file that was corrected to nothing takes its records back; a first drop without events makes an empty table
    if good:
        rows = union(drop.pulled) if drop.pulled else _readable(frame(work.spark, data_set, drop.groups))
        rows = _with_origin(work.spark, data_set, protected(data_set, rows), good)
    elif bronze.exists():
        rows = read(work.spark, bronze).where(F.lit(False))
    else:
        rows = _with_origin(work.spark, data_set, no_records(work.spark, data_set), [])
    names = ", ".join(quoted(file.name) for file in [*good, *emptied])
    result.version = replace(
        rows,
        bronze,
        f"_file IN ({names})",
        work.step.note(files=len(good), **landing(data_set)),
        work.step.lease,
        none_yet=not result.corrected,
        partition_by_day=partition_by_day(drop.records, len({f.day for f in good})),
        merge_schema=True,
        searched=("day", "_record_day", "_file"),
    )
    work.step.wrote(bronze, result.version)
    kept = {name: digest for name, digest in known.items() if name not in {file.name for file in emptied}}
    note_files(work.step, bronze, known, kept | {file.name: file.hash for file in good})
    release_files(work.step, data_set.name, good)


def _once(data_set: DataSet, files: list[RawFile]) -> list[RawFile]:
    """Of files with the same content the first by name: the same records under two names land once."""
    return list({_content(data_set, file.name, file.hash): file for file in reversed(files)}.values())[::-1]


def _content(data_set: DataSet, name: str, digest: str) -> tuple[str, ...]:
    """What makes files the same: their bytes, and what their names say where that is part of the records."""
    pattern, parser = data_set.source.file_name, data_set.source.parser
    said = (name_groups(pattern, name) or {}) if pattern else {}
    return (digest, *said.values(), *([name] if parser and parser.kind == "reference" else []))


def _count(spark: SparkSession, data_set: DataSet, groups: Groups, refused: dict[str, Refusal]) -> tuple[int, Groups]:
    """Reads everything once; where that fails, file by file, so that one bad file does not stop the others."""
    try:
        whole = frame(spark, data_set, groups)
        groups = _without_unreadable(whole, groups, refused)
        return (_records(_readable(whole)) if groups else 0), groups
    except Exception:
        log.info("%s: reading the drop file by file", data_set.name)
    total = 0
    good: Groups = {}
    for layout, files in groups.items():
        for file in files:
            try:
                alone = frame(spark, data_set, {layout: [file]})
                if _without_unreadable(alone, {layout: [file]}, refused):
                    total += _records(_readable(alone))
                    good.setdefault(layout, []).append(file)
            except Exception as error:
                if isinstance(translate(error, file.name), WorkFailed | MachineError):
                    raise
                refused[file.name] = Refusal("unreadable_file", f"cannot be read to its end: {_cause(error)}")
    return total, good


def _without_unreadable(rows: DataFrame, groups: Groups, refused: dict[str, Refusal]) -> Groups:
    """The groups without the files that a parser could not read."""
    if UNREADABLE not in rows.columns:
        return groups
    found = rows.where(F.col(UNREADABLE).isNotNull()).select("_path", UNREADABLE).collect()
    reasons = {row["_path"]: row[UNREADABLE] for row in found}
    good: Groups = {}
    for layout, files in groups.items():
        for file in files:
            if file.uri in reasons:
                refused[file.name] = Refusal("unreadable_file", reasons[file.uri])
            else:
                good.setdefault(layout, []).append(file)
    return good


def _readable(rows: DataFrame) -> DataFrame:
    return rows.where(F.col(UNREADABLE).isNull()).drop(UNREADABLE) if UNREADABLE in rows.columns else rows


def _cause(error: Exception) -> str:
    """What Java named as the innermost cause, in one line."""
    lines = str(getattr(error, "java_exception", None) or error).strip().splitlines() or [type(error).__name__]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    if not causes and "FAILED_READ_FILE" in lines[0]:
        return "it is damaged (Spark: FAILED_READ_FILE)"
    return (causes[-1] if causes else lines[0])[:300]


def _records(rows: DataFrame) -> int:
    # hashing touches every column, so a damaged page shows here and not in the middle of the write
    counted = rows.agg(F.count("*"), F.max(F.xxhash64(*[F.col(f"`{c}`") for c in rows.columns]))).first()
    assert counted is not None
    return int(counted[0])


def _with_origin(spark: SparkSession, data_set: DataSet, rows: DataFrame, files: list[RawFile]) -> DataFrame:
    """Adds what says where a record came from, and which silver day it belongs to."""
    pattern = data_set.source.file_name
    groups = {file.name: (name_groups(pattern, file.name) or {}) if pattern else {} for file in files}
    named = sorted({name for found in groups.values() for name in found})
    texts = [StructField(n, StringType()) for n in ("_path", "_file", "_file_hash", *named)]
    origins = spark.createDataFrame(
        [(f.uri, f.name, f.hash, *(groups[f.name].get(n) for n in named), f.day) for f in files],
        StructType([*texts, StructField("_drop_day", DateType())]),
    )
    landed_at = F.lit(datetime.now(UTC)).cast("timestamp")
    joined = (
        rows.join(F.broadcast(origins), "_path", "left")
        .drop("_path")
        .withColumn("_landed_at", landed_at)
        .withColumn("day", F.col("_drop_day"))
    )
    if CORRUPT not in joined.columns:
        joined = joined.withColumn(CORRUPT, F.lit(None).cast("string"))
    return joined.withColumn("_record_day", record_day(data_set, joined.columns))
