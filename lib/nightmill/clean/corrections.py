"""Refused records that a person has corrected: they stand in for the originals whenever their day is cleaned."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from nightmill.clean.records import Judge, melted
from nightmill.config import DataSet
from nightmill.errors import DataRefused
from nightmill.lake.contract import record_day
from nightmill.lake.quarantine import correct_records, refused_records
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake
from nightmill.lake.writes import read

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)
TOLD = ("record", "day", "file", "rule", "reason")
"""Columns of a file of refused records that are there to be read; the raw columns after them are there to be edited."""


def record_number(file_hash: Expression, original: Expression) -> Expression:
    """What tells a refused record from others: 16 hexadecimal digits of its file's content hash and its text."""
    return F.substring(F.sha2(F.concat_ws("\n", file_hash, original), 256), 1, 16)


def corrections_digest(rows: list[dict[str, Any]]) -> str:
    """Changes when a correction is added, changed or taken back."""
    text = json.dumps([[row["record"], row["original"], str(row["day"])] for row in rows])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def corrected(spark: SparkSession, judge: Judge, raw: DataFrame, rows: list[dict[str, Any]]) -> DataFrame:
    """Raw records in which corrections stand in for the originals, on the days that they have now."""
    own = [field for field in raw.schema if not field.name.startswith("_") and field.name != "day"]
    files = sorted({row["_file"] for row in rows})
    number = F.when(F.col("_file").isin(files), record_number(F.col("_file_hash"), judge.original()))
    schema = StructType([StructField("_record", StringType()), StructField("_fix", StringType())])
    fixes = spark.createDataFrame([(row["record"], row["original"]) for row in rows], schema)
    days = spark.createDataFrame([(row["record"], row["day"]) for row in rows], "_record string, _fixed_day date")
    joined = raw.withColumn("_record", number).join(F.broadcast(fixes.join(days, "_record")), "_record", "left")
    fixed = F.from_json("_fix", StructType(own))
    joined = joined.withColumn("_fixed", fixed)
    is_fixed = F.col("_fix").isNotNull()
    values = {f.name: F.when(is_fixed, F.col("_fixed").getField(f.name)).otherwise(F.col(f"`{f.name}`")) for f in own}
    values["_corrupt"] = F.when(~is_fixed, F.col("_corrupt"))
    values["_record_day"] = F.when(is_fixed, F.col("_fixed_day")).otherwise(F.col("_record_day"))
    return joined.withColumns(values).drop("_record", "_fix", "_fixed_day", "_fixed")


def write_refused(lake: Lake, data_set: DataSet, path: Path) -> int:
    """Writes the refused records of a data set as csv, one column per raw column; returns how many."""
    rows = refused_records(lake, data_set.name)
    originals = [_fields(row["original"]) for row in rows]
    bronze = lake.table("bronze", data_set.name).delta().schema().to_arrow().names
    columns = [n for n in bronze if not n.startswith("_") and n != "day"]
    columns += sorted({name for fields in originals for name in fields} - set(columns))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*TOLD, *columns])
        for row, fields in zip(rows, originals):
            told = (row.get("record"), row["day"], row["_file"], row["rule"], row["reason"])
            writer.writerow([*told, *(fields.get(name, "") for name in columns)])
    return len(rows)


def read_corrections(
    spark: SparkSession, lake: Lake, step: Step, data_set: DataSet, raw_columns: StructType, path: Path
) -> int:
    """Puts the edited records of such a file into quarantine as corrections; returns how many are new.

    Raises DataRefused for a file of another shape, and for records that are not in quarantine.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names, lines = list(reader.fieldnames or []), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fix = f"write it with `nightmill show data/{data_set.name} --refused {path}`, and edit it"
        raise DataRefused(f"the file of corrections cannot be read: {error}", where=str(path), fix=fix) from None
    known = {field.name: field for field in raw_columns if not field.name.startswith("_") and field.name != "day"}
    if "record" not in names or not set(names) - set(TOLD) <= known.keys():
        strange = sorted(set(names) - set(TOLD) - known.keys())
        what = f"has column '{strange[0]}', which bronze lacks" if strange else "has no column 'record'"
        raise DataRefused(
            f"the file of corrections {what}", where=str(path), fix="keep the columns as they were written"
        )
    held = {str(row["record"]): row for row in refused_records(lake, data_set.name)}
    found = []
    for number, line in enumerate(lines, start=2):
        row = held.get(line["record"])
        if row is None:
            where, fix = f"{path}:{number}", "write the file anew: what was accepted meanwhile is no longer in it"
            raise DataRefused(f"record {line['record']} is not in quarantine", where=where, fix=fix)
        edited = {n: _typed(line[n], known[n].dataType.simpleString()) for n in names if n in known and line[n]}
        if edited != _fields(row["original"]):
            found.append((row, edited))
    if not found:
        return 0
    own = StructType([StructField(f.name, f.dataType) for f in known.values()])
    texts = [(json.dumps(edited, ensure_ascii=False), row["record"], row["_drop_day"]) for row, edited in found]
    frame = spark.createDataFrame(texts, "text string, record string, _drop_day date")
    dated = frame.select("record", "_drop_day", F.from_json("text", own).alias("one")).select(
        "record", "_drop_day", "one.*"
    )
    days = {
        r["record"]: r["d"] for r in dated.select("record", record_day(data_set, dated.columns).alias("d")).collect()
    }
    kept = ("_file", "_file_hash", "_drop_day", "record")
    rows = [
        {name: row[name] for name in kept}
        | {"original": json.dumps(edited, ensure_ascii=False), "day": days[row["record"]], "was_day": row["day"]}
        for row, edited in found
    ]
    correct_records(lake, step, data_set.name, rows)
    return len(rows)


def replay(spark: SparkSession, lake: Lake, step: Step, data_set: DataSet, path: Path | None) -> set[date]:
    """The days whose refused records are judged again, after the corrections of a file were noted."""
    if path is not None:
        bronze = lake.table("bronze", data_set.name)
        raw = melted(data_set, read(spark, bronze).limit(0))
        noted = read_corrections(spark, lake, step, data_set, raw.schema, path)
        log.info("%s: %d records are corrected", data_set.name, noted)
    return {row["day"] for row in refused_records(lake, data_set.name)}


def _fields(original: str | None) -> dict[str, Any]:
    """The fields of a record in quarantine; none where it is malformed."""
    try:
        found = json.loads(original or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _typed(text: str, kind: str) -> Any:
    """A cell of csv as JSON has it."""
    if kind in ("bigint", "double", "boolean"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
