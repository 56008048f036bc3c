"""One step of a run: its lease, its events in ops, and what it read and wrote."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from nightmill import __version__
from nightmill.errors import NightmillError
from nightmill.lake.lease import Lease
from nightmill.lake.ops import append, unfinished
from nightmill.lake.tables import Lake, Table
from nightmill.logs import without_secrets

log = logging.getLogger(__name__)
RUN = "NIGHTMILL_RUN"
"""Environment variable with the run that a process is part of."""


def new_run_id(command: str) -> str:
    """Sorts by start time and is unique: 20260301T021500Z-nightly-a1b2c3."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{command}-{secrets.token_hex(3)}"


@dataclass
class Step:
    """What one stage does for one data set or use case."""

    lake: Lake
    run_id: str
    name: str
    subject: str
    lease: Lease
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    days: tuple[date, ...] = ()
    begun: bool = False

    def begin(self) -> None:
        """Says that there is work, before it is done: a start without an end tells of a kill.

        A step that finds nothing to do never begins, and leaves no trace.
        """
        if not self.begun:
            self.begun = True
            self.event("started", days=[str(day) for day in self.days])

    def read(self, table: Table, version: int | None = None) -> int:
        """Pins an input at a version (the newest without one) and records it."""
        pinned = table.delta(version).version()
        self.inputs[table.label] = pinned
        return pinned

    def wrote(self, table: Table, version: int) -> None:
        """Records an output."""
        self.outputs[table.label] = version

    def note(self, **more: Any) -> dict[str, Any]:
        """What each commit of this step says about itself."""
        return {"run": self.run_id, "step": self.name, "inputs": self.inputs, **more}

    def metric(self, rows: list[dict[str, Any]]) -> None:
        """Appends to ops.metrics; each row has metric, value and what it is of."""
        append(self.lake, "metrics", [self._base() | {"event": _metric_event(row)} | row for row in rows])

    def files(self, table_id: str, version: int, hashes: Mapping[str, str | None]) -> None:
        """Appends to ops.files which files a version of a table has; a hash of None takes a file out."""
        base = self._base() | {"table": table_id, "version": version}
        named = {name: f"{version} {name}" for name in hashes}
        append(self.lake, "files", [base | {"event": named[n], "file": n, "hash": h} for n, h in hashes.items()])

    def records(self, rows: list[dict[str, Any]]) -> None:
        """Appends to ops.records what became of records; each row has day, file, fate, rule and their number."""
        base = self._base()
        named = [f"{row['day']} {row['file']} {row['fate']} {row['rule']}" for row in rows]
        append(self.lake, "records", [base | {"event": event} | row for event, row in zip(named, rows)])

    def promotion(self, version: int, before: int | None, reason: str) -> None:
        """Appends to ops.promotions; `night` is the one that promoted, None where a person did."""
        row = {"event": "promoted", "model_version": version, "replaced": before, "reason": reason}
        row |= {"night": max(self.days, default=None)}
        append(self.lake, "promotions", [self._base() | row])

    def alarms(self, rows: list[dict[str, Any]]) -> None:
        """Appends to ops.alarms; each row has subject, kind, slice, state, value, limit, what, since and calm."""
        named = [f"{row['kind']} {row['slice']} {row['day']}".replace("  ", " ") for row in rows]
        append(self.lake, "alarms", [self._base() | {"event": name} | row for name, row in zip(named, rows)])

    def event(self, event: str, status: str = "", **detail: Any) -> None:
        """Appends to ops.runs."""
        row = {
            "event": event,
            "status": status,
            "detail": json.dumps(detail, default=str),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "nightmill": __version__,
        }
        append(self.lake, "runs", [self._base() | row])

    def lineage(self) -> None:
        """Appends what was read and written, with versions, to ops.lineage."""
        base = self._base()  # one time for all: what was read belongs to what was written
        rows = [
            base | {"event": f"{direction} {table}", "direction": direction, "table": table, "version": version}
            for direction, tables in (("read", self.inputs), ("wrote", self.outputs))
            for table, version in tables.items()
        ]
        append(self.lake, "lineage", rows)

    def _base(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "step": self.name, "subject": self.subject, "at": datetime.now(UTC)}


@contextmanager
def step(
    lake: Lake, run_id: str, name: str, subject: str, expires: timedelta, days: tuple[date, ...] = ()
) -> Iterator[Step]:
    """Holds the lease on `subject`, tells its begin and its end; raises LeaseHeld if another run has it."""
    with Lease(lake, subject, f"{run_id}/{name}", expires) as lease:
        current = Step(lake, run_id, name, subject, lease, days=days)
        for killed in unfinished(lake, subject):  # nobody else can be at it: the lease is ours
            log.warning("%s: its step %s was killed in run %s", subject, killed["step"], killed["run_id"])
            Step(lake, killed["run_id"], killed["step"], subject, lease).event("ended", "killed")
        try:
            yield current
        except BaseException as error:
            current.begin()
            status = "refused" if isinstance(error, NightmillError) else "failed"
            what = str(error) if isinstance(error, Exception) else "it was stopped from outside"
            current.event("ended", status, error=type(error).__name__, what=without_secrets(what)[:2000])
            raise
        if current.begun:
            current.lineage()
            current.event("ended", "done")


def _metric_event(row: dict[str, Any]) -> str:
    parts = (row.get("metric"), row.get("of"), row.get("slice"), row.get("horizon"), row.get("day"))
    return " ".join(str(part) for part in parts if part is not None)
