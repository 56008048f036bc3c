"""The predictions table: its schema, and the commit that replaces a day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.transaction import AddAction

from nightmill.lake.faults import translated
from nightmill.lake.files import Folder
from nightmill.lake.lease import Lease
from nightmill.lake.tables import Table

if TYPE_CHECKING:
    from nightmill.score.writer import Part

_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("entity", pa.string()),
        ("ts", _TIME),
        ("horizon", pa.int32()),
        ("target_ts", _TIME),
        ("target", pa.string()),
        ("value", pa.float32()),
        ("lo", pa.float32()),
        ("hi", pa.float32()),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("model_version", pa.int64()),
        ("feature_version", pa.int64()),
        ("run_id", pa.string()),
        ("scored_at", _TIME),
        ("hindsight", pa.bool_()),
        ("fallback", pa.string()),
        ("day", pa.date32()),
    ]
)
"""One row is one predicted value; `day` is the partition and lies in no file."""
FILE_SCHEMA = pa.schema([field for field in SCHEMA if field.name != "day"])


def replace_day(table: Table, day: date, parts: Sequence[Part], note: dict[str, Any], lease: Lease) -> int:
    """Makes these files the table's rows of that day, in one commit; readers see the old day or the new one."""
    options = table.lake.storage_options or None
    note = note | {"parts": [_mark(part.path) for part in parts]}
    with translated(table.uri):
        if not table.exists():
            DeltaTable.create(
                table.uri, Schema.from_arrow(SCHEMA), mode="ignore", partition_by=["day"], storage_options=options
            )
        delta = table.delta()
        actions = [
            AddAction(part.path, part.size, {"day": day.isoformat()}, _milliseconds(note), True, part.stats)
            for part in parts
        ]
        lease.verify()
        delta.create_write_transaction(
            actions,  # type: ignore[arg-type]
            mode="overwrite",
            schema=Schema.from_arrow(SCHEMA),
            partition_by=["day"],
            partition_filters=[("day", "=", day.isoformat())],
            commit_properties=CommitProperties(custom_metadata={"nightmill": json.dumps(note, default=str)}),
        )
    version = table.version()
    assert version is not None
    return version


def sweep(table: Table, run_id: str) -> list[str]:
    """Removes files that tasks left and that no commit names; returns their paths.

    They are of attempts that failed or came second, even after their run's commit, and of runs that were killed. The
    caller holds the table's lease, so that no other run is at work; files that a commit has replaced stay for readers
    of older versions.
    """
    delta, folder = table.delta(), Folder(table.uri, table.lake.storage_options)
    active = {unquote(action["path"]) for action in pa.table(delta.get_add_actions()).select(["path"]).to_pylist()}
    files = [name for name in folder.names() if name.startswith("day=") and name.endswith(".parquet")]
    loose = [name for name in files if name not in active]
    known = _committed(delta) if loose else {}
    named = {mark for marks in known.values() for mark in marks or ()}
    unsaid = [run for run, marks in known.items() if marks is None and run != run_id]
    lost = [name for name in loose if _mark(name) not in named and not any(run in name for run in unsaid)]
    for name in lost:
        folder.delete(name)
    return lost


def _committed(delta: DeltaTable) -> dict[str, list[str] | None]:
    """Run -> marks of the files that its commits named, as far back as the log tells; None of one that did not say."""
    found: dict[str, list[str] | None] = {}
    for commit in delta.history():
        if commit.get("nightmill"):
            note = json.loads(commit["nightmill"])
            before, marks = found.setdefault(note["run"], []), note.get("parts")
            found[note["run"]] = None if before is None or marks is None else before + marks
    return found


def _mark(path: str) -> str:
    """What a file's name has alone."""
    return path.removesuffix(".parquet").rpartition("-")[2]


def _milliseconds(note: dict[str, Any]) -> int:
    return int(note["scored_at"].timestamp() * 1000)
