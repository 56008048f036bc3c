"""The quarantine: refused records and unreadable files, with rule, reason and original."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
from deltalake import write_deltalake

from nightmill.lake.faults import translated
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    ]
)
"""`stage` is land for whole files, clean for records; `original` is the record as JSON of its bronze columns."""


class RefusedFile(Protocol):
    """What the quarantine notes of a file."""

    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def day(self) -> date: ...


def refuse_files(lake: Lake, step: Step, name: str, files: Sequence[RefusedFile], reasons: dict[str, str]) -> None:
    """Notes whole files that cannot be read; a rerun replaces their rows, so each stands once."""
    table = lake.table("quarantine", name)
    rows = [
        {
            "day": file.day,
            "stage": "land",
            "rule": "unreadable_file",
            "reason": reasons[file.name],
            "original": None,
            "_file": file.name,
            "_file_hash": file.hash,
            "_drop_day": file.day,
            "run_id": step.run_id,
        }
        for file in files
    ]
    data = pa.Table.from_pylist(rows, schema=SCHEMA)
    step.lease.verify()
    options: dict[str, Any] = {"storage_options": lake.storage_options or None}
    with translated(table.uri):
        if table.exists():
            names = ", ".join("'" + file.name.replace("'", "''") + "'" for file in files)
            condition = f"stage = 'land' AND _file IN ({names})"
            write_deltalake(table.uri, data, mode="overwrite", predicate=condition, **options)
        else:
            write_deltalake(table.uri, data, mode="append", **options)
    version = table.version()
    assert version is not None
    step.wrote(table, version)
