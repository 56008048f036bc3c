"""The suite's own tables: runs, lineage, metrics, promotions. Append-only, one row an event."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import date
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from nightmill.lake.faults import translated
from nightmill.lake.tables import Lake

OpsTable = Literal["runs", "lineage", "metrics", "files", "records", "promotions", "alarms"]

_EVENT = [
    ("run_id", pa.string()),
    ("step", pa.string()),
    ("subject", pa.string()),
    ("event", pa.string()),
    ("at", pa.timestamp("us", tz="UTC")),
    ("day", pa.date32()),
]
SCHEMAS: dict[str, pa.Schema] = {
    "runs": pa.schema(
        [*_EVENT, ("status", pa.string()), ("detail", pa.string()), ("host", pa.string()), ("pid", pa.int64())]
        + [("nightmill", pa.string())]
    ),
    "lineage": pa.schema([*_EVENT, ("direction", pa.string()), ("table", pa.string()), ("version", pa.int64())]),
    "metrics": pa.schema(
        [*_EVENT, ("metric", pa.string()), ("of", pa.string()), ("horizon", pa.int64()), ("value", pa.float64())]
        + [("model_version", pa.int64()), ("samples", pa.int64()), ("slice", pa.string())]
    ),
    "files": pa.schema(
        [*_EVENT, ("table", pa.string()), ("version", pa.int64()), ("file", pa.string()), ("hash", pa.string())]
    ),
    "records": pa.schema(
        [*_EVENT, ("file", pa.string()), ("fate", pa.string()), ("rule", pa.string()), ("records", pa.int64())]
    ),
    "promotions": pa.schema(
        [*_EVENT, ("model_version", pa.int64()), ("replaced", pa.int64()), ("reason", pa.string())]
        + [("night", pa.date32())]
    ),
    "alarms": pa.schema(
        [*_EVENT, ("kind", pa.string()), ("slice", pa.string()), ("state", pa.string()), ("value", pa.float64())]
        + [("limit", pa.float64()), ("what", pa.string()), ("since", pa.date32()), ("calm", pa.int64())]
    ),
}


MANY_FILES = 64
"""Files of a table from which on they are merged."""


def append(lake: Lake, name: OpsTable, rows: list[dict[str, Any]]) -> None:
    """Appends events; `day` is the event's UTC day unless a row says another. Several writers at once are fine."""
    if not rows:
        return
    table = lake.table("ops", name)
    for row in rows:
        row.setdefault("day", row["at"].date())
    data = pa.Table.from_pylist(rows, schema=SCHEMAS[name])
    for attempt in range(8):
        try:
            with translated(table.uri):
                write_deltalake(  # merge: a lake of an older version may lack columns
                    table.uri, data, mode="append", schema_mode="merge", storage_options=lake.storage_options or None
                )
            return
        except CommitFailedError:
            if attempt == 7:
                raise
            time.sleep(0.05 * 2**attempt)


def compact(lake: Lake) -> None:
    """Merges the files of tables that have many, and ends old ones: appends are small, and readers open every file.

    Files that no version needs are removed after a week, so that readers at work keep theirs.
    """
    for name in SCHEMAS:
        table = lake.table("ops", name)
        if not table.exists():
            continue
        delta = table.delta()
        if len(delta.file_uris()) >= MANY_FILES:
            with translated(table.uri):
                delta.optimize.compact()
                delta.create_checkpoint()
                delta.cleanup_metadata()
                delta.vacuum(dry_run=False)


def events(lake: Lake, name: OpsTable, **equal: Any) -> list[dict[str, Any]]:
    """Events in order of time that match; one that was appended twice counts once. Empty before the first."""
    table = lake.table("ops", name)
    if not table.exists():
        return []
    condition = None
    for column, value in equal.items():
        one = pc.field(column) == value
        condition = one if condition is None else condition & one
    rows = table.delta().to_pyarrow_table(filters=condition).to_pylist()
    # the time is part of it: a run may do the same step again, for another day or after a retry
    unique = {(r["run_id"], r["step"], r["subject"], r["event"], r["at"]): r for r in rows}
    return sorted(unique.values(), key=lambda r: r["at"])


def last_records(lake: Lake, subject: str) -> list[dict[str, Any]]:
    """Rows of ops.records of a data set (data/city/air), each day as its last cleaning counted it."""
    told = events(lake, "records", subject=subject)
    last = {row["day"]: (row["run_id"], row["at"]) for row in told}
    return [row for row in told if (row["run_id"], row["at"]) == last[row["day"]]]


def fates_by_day(rows: Iterable[dict[str, Any]]) -> dict[date, dict[str, int]]:
    """Day -> fate -> records, of rows of ops.records."""
    found: dict[date, dict[str, int]] = {}
    for row in rows:
        fates = found.setdefault(row["day"], {})
        fates[row["fate"]] = fates.get(row["fate"], 0) + row["records"]
    return found


def unfinished(lake: Lake, subject: str) -> list[dict[str, Any]]:
    """Steps of a subject that started and never ended."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in events(lake, "runs", subject=subject):
        if row["event"] == "started":
            found[row["run_id"], row["step"]] = row
        elif row["event"] == "ended":
            found.pop((row["run_id"], row["step"]), None)
    return list(found.values())
