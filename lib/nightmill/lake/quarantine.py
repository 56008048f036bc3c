"""The quarantine: refused records and unreadable files, with rule, reason and original."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake

from nightmill.lake.faults import translated
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SCHEMA = pa.schema(
    [
        ("day", pa.date32()),
        ("stage", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("original", pa.string()),
        ("_file", pa.string()),
        ("_file_hash", pa.string()),
        ("_drop_day", pa.date32()),
        ("run_id", pa.string()),
        ("record", pa.string()),
        ("was_day", pa.date32()),
    ]
)
"""`stage` is land for whole files, clean for records, corrected for what a person made of a record.

`original` is the record as JSON of its bronze columns, or as text where it is malformed; `record` tells it from others
of its data set. A correction has the record's number, its new text, its day, and the day that it had before.
"""


class Refused(Protocol):
    """Why a file was refused."""

    @property
    def rule(self) -> str: ...
    @property
    def reason(self) -> str: ...


class RefusedFile(Protocol):
    """What the quarantine notes of a file."""

    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def day(self) -> date: ...


def record_number(file_hash: str | None, original: str | None) -> str:
    """What tells a refused record from others: 16 hexadecimal digits of its file's content hash and its text."""
    text = "\n".join(part for part in (file_hash, original) if part is not None)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_old(table: Table) -> bool:
    """Whether a quarantine was written by a version that did not number records."""
    return table.exists() and not set(SCHEMA.names) <= set(table.delta().schema().to_arrow().names)


def number_records(step: Step, table: Table) -> int:
    """Gives each record of an older version its number; returns how many."""
    rows = table.delta().to_pyarrow_table().to_pylist()
    records = [row for row in rows if row["stage"] == "clean"]
    for row in records:
        row["record"] = record_number(row["_file_hash"], row["original"])
    _replace(table, step, [dict.fromkeys(SCHEMA.names) | row for row in rows], None)
    return len(records)


def forget_records(step: Step, table: Table) -> int:
    """Takes all records and their corrections out, whose texts may hold what must not be seen; returns how many.

    Cleaning puts the records that are still refused back, without it.
    """
    if not table.exists():
        return 0
    return _delete(table, step, "stage <> 'land'")


def refuse_files(step: Step, name: str, files: Sequence[RefusedFile], reasons: Mapping[str, Refused]) -> None:
    """Notes whole files that cannot be read; a rerun replaces their rows, so each stands once."""
    table = step.lake.table("quarantine", name)
    rows = [
        {
            "day": file.day,
            "stage": "land",
            "rule": reasons[file.name].rule,
            "reason": reasons[file.name].reason,
            "original": None,
            "_file": file.name,
            "_file_hash": file.hash,
            "_drop_day": file.day,
            "run_id": step.run_id,
            "record": None,
            "was_day": None,
        }
        for file in files
    ]
    _replace(table, step, rows, _whole_files(files))


def held_files(lake: Lake, name: str) -> dict[str, tuple[str, str]]:
    """Whole files in quarantine: name -> hash of the content, and why."""
    table = lake.table("quarantine", name)
    if not table.exists():
        return {}
    columns = ["_file", "_file_hash", "reason"]
    rows = table.delta().to_pyarrow_table(columns=columns, filters=pc.field("stage") == "land").to_pylist()
    return {row["_file"]: (row["_file_hash"], row["reason"]) for row in rows}


def held_days(lake: Lake, name: str) -> dict[date, list[tuple[str, str]]]:
    """Drop day -> whole files of it in quarantine, and why."""
    table = lake.table("quarantine", name)
    if not table.exists():
        return {}
    found: dict[date, list[tuple[str, str]]] = {}
    rows = table.delta().to_pyarrow_table(columns=["day", "_file", "reason"], filters=pc.field("stage") == "land")
    for row in rows.sort_by("_file").to_pylist():
        found.setdefault(row["day"], []).append((row["_file"], row["reason"]))
    return found


def correct_records(step: Step, name: str, corrections: list[dict[str, Any]]) -> None:
    """Notes what became of records; a later correction of a record replaces an earlier one."""
    table = step.lake.table("quarantine", name)
    base = {"stage": "corrected", "rule": "", "reason": "", "run_id": step.run_id}
    _replace(table, step, [base | row for row in corrections], _corrections([row["record"] for row in corrections]))


def forget_corrections(step: Step, name: str, records: list[str]) -> None:
    """Takes corrections out: their records are what they were."""
    _delete(step.lake.table("quarantine", name), step, _corrections(records))


def corrections(lake: Lake, name: str) -> list[dict[str, Any]]:
    """All corrections of a data set, sorted by record; empty where there is none."""
    table = lake.table("quarantine", name)
    if not table.exists() or "record" not in table.delta().schema().to_arrow().names:
        return []
    found = table.delta().to_pyarrow_table(filters=pc.field("stage") == "corrected").to_pylist()
    return sorted(found, key=lambda row: str(row["record"]))


def refused_records(lake: Lake, name: str) -> list[dict[str, Any]]:
    """All records that cleaning refused, in order of day, file and number."""
    table = lake.table("quarantine", name)
    if not table.exists():
        return []
    found = table.delta().to_pyarrow_table(filters=pc.field("stage") == "clean").to_pylist()
    return sorted(found, key=lambda row: (row["day"], row["_file"], str(row.get("record"))))


def _replace(table: Table, step: Step, rows: list[dict[str, Any]], condition: str | None) -> None:
    """Replaces the rows that meet the condition, or all; a table receives the columns that it lacks."""
    data = pa.Table.from_pylist(rows, schema=SCHEMA)
    step.lease.verify()
    options: dict[str, Any] = {"storage_options": table.lake.storage_options or None}
    with translated(table.uri):
        if table.exists():
            write_deltalake(table.uri, data, mode="overwrite", predicate=condition, schema_mode="merge", **options)
        else:
            write_deltalake(table.uri, data, mode="append", **options)
    version = table.version()
    assert version is not None
    step.wrote(table, version)


def release_files(step: Step, name: str, files: Sequence[RefusedFile]) -> None:
    """Takes whole files out that were refused before and have landed now."""
    table = step.lake.table("quarantine", name)
    if not files or not table.exists():
        return
    names = pc.field("_file").isin([file.name for file in files])
    held = table.delta().to_pyarrow_dataset().count_rows(filter=(pc.field("stage") == "land") & names)
    if held:
        _delete(table, step, _whole_files(files))


def _delete(table: Table, step: Step, condition: str) -> int:
    """Takes the rows out that meet the condition; returns how many."""
    step.lease.verify()
    with translated(table.uri):
        gone = table.delta().delete(condition)
    step.wrote(table, table.delta().version())
    return int(gone["num_deleted_rows"])


def _corrections(records: Iterable[str]) -> str:
    numbers = ", ".join(f"'{record}'" for record in records)
    return f"stage = 'corrected' AND record IN ({numbers})"


def _whole_files(files: Sequence[RefusedFile]) -> str:
    names = ", ".join("'" + file.name.replace("'", "''") + "'" for file in files)
    return f"stage = 'land' AND _file IN ({names})"
