"""The predictions table: its schema, a task's file of it, and the commit that replaces a day."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.transaction import AddAction

from nightmill.lake.faults import translated
from nightmill.lake.lease import Lease
from nightmill.lake.tables import Table

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
        ("day", pa.date32()),
    ]
)
"""One row is one predicted value; `day` is the partition and lies in no file."""
FILE_SCHEMA = pa.schema([field for field in SCHEMA if field.name != "day"])
_STATISTICS = ("entity", "ts", "horizon", "target_ts", "value")


@dataclass(frozen=True)
class Part:
    """One file that a task wrote, not yet part of the table."""

    path: str
    size: int
    rows: int
    stats: str
    """Delta statistics as JSON."""


class Statistics:
    """Delta statistics of a file, gathered batch by batch."""

    def __init__(self) -> None:
        self.rows = 0
        self._low: dict[str, Any] = {}
        self._high: dict[str, Any] = {}

    def add(self, batch: pa.Table) -> None:
        """Counts a batch in."""
        self.rows += batch.num_rows
        for name in _STATISTICS:
            found = pc.min_max(batch[name]).as_py()
            if found["min"] is None:
                continue
            self._low[name] = min(self._low.get(name, found["min"]), found["min"])
            self._high[name] = max(self._high.get(name, found["max"]), found["max"])

    def to_json(self) -> str:
        """What a Delta add action carries."""
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: _plain(value) for name, value in self._low.items()},
                "maxValues": {name: _plain(value) for name, value in self._high.items()},
                "nullCount": {"label": self.rows, "score": self.rows} | dict.fromkeys(_STATISTICS, 0),
            }
        )


def _plain(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if hasattr(value, "strftime") else value


def part_path(day: date, run_id: str, number: int) -> str:
    """Place of a task's file in the table; unique per run, so an attempt that was killed leaves nothing readable."""
    return posixpath.join(f"day={day.isoformat()}", f"part-{number:05d}-{run_id}.parquet")


def replace_day(table: Table, day: date, parts: Sequence[Part], note: dict[str, Any], lease: Lease) -> int:
    """Makes these files the table's rows of that day, in one commit; readers see the old day or the new one."""
    options = table.lake.storage_options or None
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


def _milliseconds(note: dict[str, Any]) -> int:
    return int(note["scored_at"].timestamp() * 1000)
