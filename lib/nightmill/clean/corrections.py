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

import pyarrow.compute as pc
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from nightmill.clean.records import ORIGINAL, Judge, melted
from nightmill.config import DataSet
from nightmill.config.source import is_raw
from nightmill.errors import ConfigError, DataRefused
from nightmill.lake.contract import record_day
from nightmill.lake.quarantine import correct_records, corrections, forget_corrections, refused_records
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake, Table
from nightmill.lake.writes import read
from nightmill.spark import Start

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)
COLUMNS = ("record", "day", "file", "rule", "reason", "original")
"""Columns of a file of refused records that are there to be read; the raw columns after them are there to be edited."""
CORRECTED = "corrected"
"""What stands for a rule where a corrected record was accepted."""


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
    joined = joined.withColumn(ORIGINAL, F.when(is_fixed, judge.original()))
    values = {f.name: F.when(is_fixed, F.col("_fixed").getField(f.name)).otherwise(F.col(f"`{f.name}`")) for f in own}
    values["_corrupt"] = F.when(~is_fixed, F.col("_corrupt"))
    values["_record_day"] = F.when(is_fixed, F.col("_fixed_day")).otherwise(F.col("_record_day"))
    return joined.withColumns(values).drop("_record", "_fix", "_fixed_day", "_fixed")


def write_refused(lake: Lake, data_set: DataSet, path: Path) -> int:
    """Writes refused and corrected records of a data set as csv, one column per raw column; returns how many."""
    rows = list(_editable(lake, data_set.name).values())
    bronze = lake.table("bronze", data_set.name).delta().schema().to_arrow().names
    columns = [name for name in bronze if is_raw(name)]
    columns += sorted({name for row in rows for name in row["fields"]} - set(columns))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *_headings(columns)])
        for row in rows:
            told = (row["record"], row["day"], row["_file"], row["rule"], row["reason"])
            original = "" if row["fields"] else row["original"]  # of others the columns say it
            writer.writerow([*told, original, *(_cell(row["fields"].get(name)) for name in columns)])
    return len(rows)


def _headings(columns: Collection[str]) -> dict[str, str]:
    """Heading -> raw column; one that is called as a column of the file's own is told apart by `raw_`."""
    found = dict.fromkeys(columns, "")
    names: dict[str, str] = {}
    for column in found:
        heading = column
        while heading in COLUMNS or (heading != column and heading in found):
            heading = f"raw_{heading}"
        names[heading] = column
    return names


def _editable(lake: Lake, name: str) -> dict[str, dict[str, Any]]:
    """Number -> a record that is refused or was corrected, with its fields as they are now."""
    fixes = {str(row["record"]): row for row in corrections(lake, name)}
    refused = {str(row["record"]): row for row in refused_records(lake, name)}
    there = _file_hashes(lake.table("bronze", name), {row["_file"] for row in fixes.values()})
    accepted = {
        number: row | {"rule": CORRECTED, "reason": "accepted with its correction"}
        for number, row in fixes.items()
        if number not in refused and row["_file_hash"] in there  # else its file speaks for itself
    }
    return {
        number: row
        | {"fields": _fields(now["original"]), "was_day": now["was_day"] or now["day"], "is_corrected": number in fixes}
        for number, row in (refused | accepted).items()
        for now in [fixes.get(number, row)]
    }


def _file_hashes(bronze: Table, files: set[str]) -> set[str]:
    if not files:
        return set()
    named = pc.field("_file").isin(sorted(files))
    rows = bronze.delta().to_pyarrow_dataset().scanner(columns=["_file_hash"], filter=named).to_table()
    return set(rows["_file_hash"].unique().to_pylist())


def note_corrections(spark: SparkSession, step: Step, data_set: DataSet, path: Path) -> int:
    """Puts what was edited into quarantine as corrections; returns how many lines changed something.

    A line whose raw columns are all emptied takes its correction back. Raises DataRefused for a file of another shape,
    for values that their column cannot hold, and for records that are neither refused nor corrected.
    """
    raw = melted(data_set, read(spark, step.lake.table("bronze", data_set.name)).limit(0)).schema
    known = {field.name: field.dataType.simpleString() for field in raw if is_raw(field.name)}
    held = _editable(step.lake, data_set.name)
    rows, back = [], []
    for number, (where, cells) in _lines(data_set, path, known).items():
        row = held.get(number)
        if row is None:
            fix = "write the file anew: the record's file has been corrected or migrated since"
            raise DataRefused(f"record {number} is neither refused nor corrected", where=where, fix=fix)
        if not any(cells.values()):
            back += [row["record"]] if row["is_corrected"] else []
            continue
        was = row["fields"]
        edits = {n: _typed(n, text, known[n], where) for n, text in cells.items() if text != _cell(was.get(n))}
        if edits:
            kept = {name: row[name] for name in ("_file", "_file_hash", "_drop_day", "record", "was_day")}
            text = json.dumps({n: value for n, value in (was | edits).items() if value is not None}, ensure_ascii=False)
            rows.append(kept | {"original": text})
    if rows:
        days = _days(spark, data_set, raw, rows)
        correct_records(step, data_set.name, [row | {"day": days[row["record"]]} for row in rows])
    if back:
        forget_corrections(step, data_set.name, back)
    return len(rows) + len(back)


def _lines(data_set: DataSet, path: Path, known: Collection[str]) -> dict[str, tuple[str, dict[str, str]]]:
    """Number of each record in a file of corrections -> place of its line, and its cells by raw column."""
    fix = (
        f"write it with `nightmill show data/{data_set.name} --refused FILE.csv`, edit it, and save it as csv in UTF-8"
    )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # line ends inside cells stay as they are
            head = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=";" if ";" in head and "," not in head else ",")
            names, lines = list(reader.fieldnames or []), [(reader.line_num, line) for line in reader]
    except OSError as error:
        raise ConfigError(
            f"the file of corrections cannot be read: {error.strerror}", where=str(path), fix="check --corrections PATH"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataRefused(f"the file of corrections cannot be read: {error}", where=str(path), fix=fix) from None
    headings = _headings(known)
    strange = sorted(set(names) - set(COLUMNS) - headings.keys())
    if strange or "record" not in names:
        what = f"has column '{strange[0]}', which bronze lacks" if strange else "has no column 'record'"
        raise DataRefused(f"the file of corrections {what}", where=str(path), fix=fix)
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for place, line in lines:
        cells = {name: text or "" for name, text in line.items() if name is not None}
        if not any(cells.values()):
            continue
        where, number = f"{path}:{place}", cells["record"]
        if number in found:
            other = found[number][0].rpartition(":")[2]
            raise DataRefused(
                f"record {number} stands twice, first in line {other}", where=where, fix="leave one of the lines"
            )
        found[number] = where, {headings[name]: text for name, text in cells.items() if name in headings}
    return found


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
    # names with an underscore, which no raw column has
    frame = spark.createDataFrame(texts, "_text string, _record string, _drop_day date")
    dated = frame.select("_record", "_drop_day", F.from_json("_text", own).alias("_one"))
    dated = dated.select("_record", "_drop_day", "_one.*")
    found = dated.select("_record", record_day(data_set, dated.columns).alias("_day")).collect()
    return {row["_record"]: row["_day"] for row in found}


def replay(start: Start, step: Step, data_set: DataSet, path: Path | None) -> set[date]:
    """The days whose refused records are judged again, after the corrections of a file were noted."""
    if path is not None:
        changed = note_corrections(start(), step, data_set, path)
        log.info("%s: %d records are corrected", data_set.name, changed)
    return {row["day"] for row in refused_records(step.lake, data_set.name)}


def days_of(rows: list[dict[str, Any]]) -> set[date]:
    """The days that corrections take records from and put them on."""
    return {row[day] for row in rows for day in ("day", "was_day") if row[day]}


def _fields(original: str | None) -> dict[str, Any]:
    """The fields of a record in quarantine; none where it is malformed."""
    try:
        found = json.loads(original or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _cell(value: Any) -> str:
    """A field as its cell of csv shows it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _typed(name: str, text: str, kind: str, where: str) -> Any:
    """An edited cell as JSON has it; None where it was emptied."""
    if not text:
        return None
    if kind not in ("bigint", "double", "boolean"):
        return text
    try:
        value = json.loads(text.lower() if kind == "boolean" else text)
    except ValueError:
        value = None
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits = {"bigint": whole, "double": whole or isinstance(value, float), "boolean": isinstance(value, bool)}
    if not fits[kind]:
        what = {"bigint": "a whole number", "double": "a number, as 1.5", "boolean": "true or false"}[kind]
        raise DataRefused(f"{name} cannot be '{text}'", where=where, fix=f"write {what}")
    return value
