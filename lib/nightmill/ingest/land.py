"""The stage `land`: a drop's new and corrected files become bronze records."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, StringType, StructField, StructType

from nightmill.config import DataSet
from nightmill.errors import DataRefused, MachineError, WorkFailed
from nightmill.ingest.drop import RawFile, find_days, name_groups
from nightmill.ingest.parquet import held_types
from nightmill.ingest.read import CORRUPT, Groups, frame, layouts, no_records
from nightmill.lake.contract import record_day
from nightmill.lake.faults import translate, translated
from nightmill.lake.quarantine import refuse_files
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake, Table
from nightmill.lake.writes import partition_by_day, read, replace

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
    version: int | None = None


def land(spark: SparkSession, lake: Lake, step: Step, data_set: DataSet, raw: str, days: list[date]) -> Landed:
    """Lands the drops of these days; files that landed before are skipped, a known name with new content replaces.

    Raises DataRefused where there is no drop, or where no file of it can be read.
    """
    result = Landed(data_set.name, days)
    bronze = lake.table("bronze", data_set.name)
    files = find_days(data_set, raw, days)
    known = _known(bronze)
    fresh = [f for f in _once(files) if f.hash not in known.values()]
    result.known = len(files) - len(fresh)
    result.version = bronze.version()
    if not fresh:
        log.info("%s: all %d files of the drop had landed before", data_set.name, len(files))
        return result
    typed = data_set.source.format == "parquet" and bronze.exists()
    held = held_types(pa.schema(bronze.delta().schema().to_arrow())) if typed else {}
    groups, result.refused = layouts(data_set, fresh, held)
    if not groups and not result.refused and not data_set.source.may_be_empty:
        raise DataRefused(
            f"the drop of {data_set.name} is empty", where=f"{raw}/{fresh[0].name}", fix="deliver the drop again"
        )
    records, groups = _count(spark, data_set, groups, result.refused)
    for name, why in result.refused.items():
        log.warning("%s: %s is refused: %s", data_set.name, name, why)
    if result.refused:
        refuse_files(lake, step, data_set.name, [f for f in fresh if f.name in result.refused], result.refused)
    good = [file for group in groups.values() for file in group]
    if not good and result.refused and result.known:
        return result  # the drop's good files had landed before
    if not good and result.refused:
        name, why = next(iter(result.refused.items()))
        raise DataRefused(
            f"no file of the drop of {data_set.name} can be read: {why}",
            where=f"{raw}/{name}",
            fix="deliver the drop again, or change the data set's source and contract",
        )
    emptied = [f.name for f in fresh if f.name in known and f.name not in result.refused and f not in good]
    if records == 0 and not data_set.source.may_be_empty:
        raise DataRefused(
            f"the drop of {data_set.name} holds no record", where=f"{raw}/{fresh[0].name}", fix="deliver the drop again"
        )
    result.files, result.records = len(good), records
    result.corrected = sum(file.name in known for file in good) + len(emptied)
    if records == 0 and not result.corrected and bronze.exists():
        return result  # of rare events there was none
    # a file that was corrected to nothing takes its records back; a first drop without events makes an empty table
    if good:
        rows = _with_origin(spark, data_set, frame(spark, data_set, groups), good)
    elif bronze.exists():
        rows = read(spark, bronze).where(F.lit(False))
    else:
        rows = _with_origin(spark, data_set, no_records(spark, data_set), [])
    names = ", ".join(_quoted(name) for name in [*(file.name for file in good), *emptied])
    result.version = replace(
        rows,
        bronze,
        f"_file IN ({names})",
        step.note(files=len(good)),
        step.lease,
        none_yet=not result.corrected,
        partition_by_day=partition_by_day(records, len({f.day for f in good})),
        merge_schema=True,
    )
    step.wrote(bronze, result.version)
    return result


def _known(bronze: Table) -> dict[str, str]:
    """File name -> content hash of everything in bronze; batches keep memory flat however long the history."""
    if not bronze.exists():
        return {}
    known: dict[str, str] = {}
    with translated(bronze.uri):
        for batch in bronze.delta().to_pyarrow_dataset().scanner(columns=["_file", "_file_hash"]).to_batches():
            pairs = pa.Table.from_batches([batch]).group_by(["_file", "_file_hash"]).aggregate([])
            known |= dict(zip(pairs["_file"].to_pylist(), pairs["_file_hash"].to_pylist(), strict=True))
    return known


def _once(files: list[RawFile]) -> list[RawFile]:
    """Of files with the same content the first by name: the same records under two names land once."""
    return list({file.hash: file for file in reversed(files)}.values())[::-1]


def _count(spark: SparkSession, data_set: DataSet, groups: Groups, refused: dict[str, str]) -> tuple[int, Groups]:
    """Reads everything once; where that fails, file by file, so that one bad file does not stop the others."""
    if not groups:
        return 0, groups
    try:
        return _records(frame(spark, data_set, groups)), groups
    except Exception:
        log.info("%s: reading the drop file by file", data_set.name)
    total = 0
    good: Groups = {}
    for layout, files in groups.items():
        for file in files:
            try:
                total += _records(frame(spark, data_set, {layout: [file]}))
                good.setdefault(layout, []).append(file)
            except Exception as error:
                if isinstance(translate(error, file.name), WorkFailed | MachineError):
                    raise
                refused[file.name] = f"cannot be read to its end: {_cause(error)}"
    return total, good


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
    return joined.withColumn("_record_day", record_day(data_set))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
