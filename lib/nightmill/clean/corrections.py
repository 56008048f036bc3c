"""Refused records that a person has corrected: they stand in for the originals whenever their day is cleaned."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from nightmill.clean.records import Judge, melted
from nightmill.config import DataSet
from nightmill.config.source import is_raw
from nightmill.errors import DataRefused
from nightmill.lake.contract import record_day
from nightmill.lake.quarantine import correct_records, corrections, refused_records
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake
from nightmill.lake.writes import read
from nightmill.spark import Start

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)
TOLD = ("record", "day", "file", "rule", "reason")
"""Columns of a file of refused records that are there to be read; the raw columns after them are there to be edited."""


def record_number(file_hash: Expression, original: Expression) -> Expression:
    """What `nightmill.lake.quarantine.record_number` computes."""
    return F.substring(F.sha2(F.concat_ws("\n", file_hash, original), 256), 1, 16)


def corrections_digest(rows: list[dict[str, Any]]) -> str:
    """Changes when a correction is added, changed or taken back."""
    text = json.dumps([[row["record"], row["original"], str(row["day"])] for row in rows])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def corrected(spark: SparkSession, judge: Judge, raw: DataFrame, rows: list[dict[str, Any]]) -> DataFrame:
    """Raw records in which corrections stand in for the originals, on the days that they have now."""
    own = [field for field in raw.schema if is_raw(field.name)]
    files = sorted({row["_file"] for row in rows})
    number = F.when(F.col("_file").isin(files), record_number(F.col("_file_hash"), judge.original()))
    fixes = spark.createDataFrame(
        [(row["record"], row["original"], row["day"]) for row in rows], "_record string, _fix string, _fixed_day date"
    )
    joined = raw.withColumn("_record", number).join(F.broadcast(fixes), "_record", "left")
    joined = joined.withColumn("_fixed", F.from_json("_fix", StructType(own)))
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
    columns = [name for name in bronze if is_raw(name)]
    columns += sorted({name for fields in originals for name in fields} - set(columns))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*TOLD, *columns])
        for row, fields in zip(rows, originals):
            told = (row.get("record"), row["day"], row["_file"], row["rule"], row["reason"])
            writer.writerow([*told, *(fields.get(name, "") for name in columns)])
    return len(rows)


def note_corrections(spark: SparkSession, step: Step, data_set: DataSet, path: Path) -> int:
    """Puts the edited ones of refused records into quarantine as corrections; returns how many are new.

    Raises DataRefused for a file of another shape, and for records that are not in quarantine.
    """
    raw = melted(data_set, read(spark, step.lake.table("bronze", data_set.name)).limit(0)).schema
    known = {field.name: field for field in raw if is_raw(field.name)}
    lines = _lines(data_set, path, known)
    held = {str(row["record"]): row for row in refused_records(step.lake, data_set.name)}
    rows = []
    for number, line in enumerate(lines, start=2):
        row = held.get(line["record"])
        if row is None:
            where, fix = f"{path}:{number}", "write the file anew: what was accepted meanwhile is no longer in it"
            raise DataRefused(f"record {line['record']} is not in quarantine", where=where, fix=fix)
        edited = {n: _typed(text, known[n].dataType.simpleString()) for n, text in line.items() if n in known and text}
        if edited != _fields(row["original"]):
            kept = {name: row[name] for name in ("_file", "_file_hash", "_drop_day", "record")}
            rows.append(kept | {"original": json.dumps(edited, ensure_ascii=False), "was_day": row["day"]})
    if rows:
        days = _days(spark, data_set, raw, rows)
        correct_records(step, data_set.name, [row | {"day": days[row["record"]]} for row in rows])
    return len(rows)


def _lines(data_set: DataSet, path: Path, known: Collection[str]) -> list[dict[str, str]]:
    """The lines of a file of corrections, by column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names, lines = list(reader.fieldnames or []), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fix = f"write it with `nightmill show data/{data_set.name} --refused {path}`, and edit it"
        raise DataRefused(f"the file of corrections cannot be read: {error}", where=str(path), fix=fix) from None
    strange = sorted(set(names) - set(TOLD) - set(known))
    if strange or "record" not in names:
        what = f"has column '{strange[0]}', which bronze lacks" if strange else "has no column 'record'"
        fix = "keep the columns as they were written"
        raise DataRefused(f"the file of corrections {what}", where=str(path), fix=fix)
    return lines


def redate(spark: SparkSession, step: Step, data_set: DataSet) -> int:
    """Puts corrections on the days that the contract gives them now; returns how many there are."""
    rows = corrections(step.lake, data_set.name)
    if not rows:
        return 0
    raw = melted(data_set, read(spark, step.lake.table("bronze", data_set.name)))
    original = Judge(data_set, raw.columns).original()
    of_files = raw.where(F.col("_file").isin(sorted({row["_file"] for row in rows})))
    day = record_day(data_set, raw.columns)
    numbered = of_files.select(record_number(F.col("_file_hash"), original).alias("record"), day.alias("day"))
    found = numbered.where(F.col("record").isin([row["record"] for row in rows])).collect()
    was, now = {row["record"]: row["day"] for row in found}, _days(spark, data_set, raw.schema, rows)
    dated = [row | {"day": now[row["record"]], "was_day": was.get(row["record"], row["was_day"])} for row in rows]
    correct_records(step, data_set.name, dated)
    return len(rows)


def _days(
    spark: SparkSession, data_set: DataSet, raw_columns: StructType, rows: list[dict[str, Any]]
) -> dict[str, date]:
    """Number of a record -> the day that its text says."""
    own = StructType([field for field in raw_columns if is_raw(field.name)])
    texts = [(row["original"], row["record"], row["_drop_day"]) for row in rows]
    frame = spark.createDataFrame(texts, "text string, record string, _drop_day date")
    dated = frame.select("record", "_drop_day", F.from_json("text", own).alias("one"))
    dated = dated.select("record", "_drop_day", "one.*")
    found = dated.select("record", record_day(data_set, dated.columns).alias("day")).collect()
    return {row["record"]: row["day"] for row in found}


def replay(start: Start, step: Step, data_set: DataSet, path: Path | None) -> set[date]:
    """The days whose refused records are judged again, after the corrections of a file were noted."""
    if path is not None:
        noted = note_corrections(start(), step, data_set, path)
        log.info("%s: %d records are corrected", data_set.name, noted)
    return {row["day"] for row in refused_records(step.lake, data_set.name)}


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
