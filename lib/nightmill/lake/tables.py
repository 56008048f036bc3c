"""Names and places of the lake's tables, and what their Delta logs say."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from nightmill.errors import DataRefused, MachineError

Layer = Literal["bronze", "silver", "quarantine", "gold", "predictions", "ops"]


@dataclass(frozen=True)
class Lake:
    """The folder or URI below which all tables lie."""

    root: str
    storage_options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, root: str, storage_options: dict[str, str] | None = None, *, create: bool = True) -> Lake:
        """The lake at a folder or URI; raises MachineError where it cannot be written, or where it is absent.

        `create` makes an absent folder: else a slip in the path would leave a new, empty lake behind.
        """
        if "://" in root:
            return cls(root.rstrip("/"), storage_options or {})
        path = Path(root).expanduser().resolve()
        if not create and not path.exists():
            raise MachineError(
                "there is no lake", where=str(path), fix="check --lake PATH, or run `nightmill land` first"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            readable = os.access(path, os.R_OK | os.W_OK | os.X_OK)
        except OSError as error:
            raise MachineError(
                f"the lake cannot be used: {error.strerror}", where=str(path), fix="pass another --lake PATH"
            ) from None
        if not readable:
            raise MachineError("the lake cannot be read and written", where=str(path), fix="grant rwx on this folder")
        return cls(str(path))

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return "://" not in self.root

    def table(self, layer: Layer, name: str) -> Table:
        """The table of a layer; `name` is domain/name, for ops the bare name."""
        return Table(self, layer, name)


@dataclass(frozen=True)
class Table:
    """One Delta table of the lake."""

    lake: Lake
    layer: Layer
    name: str

    @property
    def label(self) -> str:
        """How messages and lineage name the table: silver/city/traffic."""
        return f"{self.layer}/{self.name}"

    @property
    def uri(self) -> str:
        """Where the table lies."""
        return f"{self.lake.root}/{self.label}"

    def exists(self) -> bool:
        """Whether the table has ever been written."""
        if self.lake.is_local and not Path(self.uri, "_delta_log").is_dir():
            return False
        return DeltaTable.is_deltatable(self.uri, self.lake.storage_options)

    def delta(self, version: int | None = None) -> DeltaTable:
        """The Delta table, pinned at a version or at its newest; raises DataRefused where it cannot be read."""
        try:
            return DeltaTable(self.uri, version=version, storage_options=self.lake.storage_options)
        except TableNotFoundError:
            raise DataRefused(
                f"table {self.label} does not exist yet", where=self.uri, fix=_FIRST[self.layer]
            ) from None
        except (DeltaError, OSError, ValueError) as error:
            raise DataRefused(
                f"table {self.label} cannot be read: {_first_line(error)}",
                where=self.uri,
                fix="restore the table's _delta_log, or remove the table and run its stage again",
            ) from None

    def version(self) -> int | None:
        """Newest version, None before the first write."""
        return self.delta().version() if self.exists() else None

    def files(self, version: int) -> set[str]:
        """Paths of the data files that make up a version."""
        return set(self.delta(version).file_uris())

    def note(self) -> dict[str, Any]:
        """What the newest commit of a stage wrote about itself (run, inputs, …); empty before the first."""
        if not self.exists():
            return {}
        for commit in self.delta().history(limit=50):
            text = commit.get("userMetadata") or commit.get("nightmill")
            if text:
                return dict(json.loads(text))
        return {}

    def changed_days(self, since: int | None, until: int, column: str = "day") -> set[date] | None:
        """Days of rows in files that were added or removed between two versions.

        None where that can no longer be told (no earlier version, or its files were vacuumed): take all days.
        """
        if since is None or since > until:
            return None
        if since == until:
            return set()
        try:
            before, after = self.files(since), self.files(until)
            return self._days_of(before ^ after, column)
        except (DataRefused, FileNotFoundError, OSError):
            return None

    def days(self, version: int | None = None, column: str = "day") -> set[date]:
        """All days of which the table has rows."""
        return self._days_of(set(self.delta(version).file_uris()), column)

    def days_by_partition(self) -> set[date]:
        """Days of a table that is partitioned by them; nothing is read."""
        return {date.fromisoformat(str(p["day"])) for p in self.delta().partitions()}

    def may_hold(self, days: Collection[date]) -> bool:
        """Whether a file may have rows of these days, by its partition or its statistics; nothing is read."""
        if not days or not self.exists():
            return False
        actions = pa.table(self.delta().get_add_actions(flatten=True))
        if "partition.day" in actions.column_names:
            low = high = actions["partition.day"].to_pylist()
        elif {"min.day", "max.day"} <= set(actions.column_names):
            low, high = actions["min.day"].to_pylist(), actions["max.day"].to_pylist()
        else:
            return True
        first, last = min(days), max(days)
        return any(a is None or b is None or (a <= last and first <= b) for a, b in zip(low, high, strict=True))

    def _days_of(self, uris: Iterable[str], column: str) -> set[date]:
        paths = sorted(uris)
        if not paths:
            return set()
        import pyarrow.dataset as ds  # takes pandas with it, two seconds that a refused command need not wait

        filesystem: pafs.FileSystem = pafs.LocalFileSystem()
        if not self.lake.is_local:
            filesystem, _ = pafs.FileSystem.from_uri(paths[0])
            paths = [p.split("://", 1)[1] for p in paths]
        scanner = ds.dataset(paths, format="parquet", filesystem=filesystem).scanner(columns=[column])
        found: set[date] = set()
        for batch in scanner.to_batches():
            found.update(batch.column(0).unique().to_pylist())
        found.discard(None)
        return found


_FIRST: dict[str, str] = {
    "bronze": "run `nightmill land` first",
    "silver": "run `nightmill land` and `nightmill clean` first",
    "quarantine": "nothing has been refused yet",
    "gold": "run `nightmill features` first",
    "predictions": "run `nightmill score` first",
    "ops": "run any stage first",
}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
