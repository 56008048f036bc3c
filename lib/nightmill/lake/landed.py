"""What has landed: the files in bronze, and under which contract their records came there.

Files are kept in ops.files, so that a night need not read all of bronze to know them.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nightmill.config import DataSet
from nightmill.config.values import DATA
from nightmill.errors import DataRefused
from nightmill.lake.contract import dating
from nightmill.lake.faults import translated
from nightmill.lake.run import Step
from nightmill.lake.tables import Table

Files = dict[str, str]
"""Name -> hash of the content."""


def landed_files(step: Step, bronze: Table) -> Files:
    """The files whose records are in bronze.

    What ops.files says counts only for the very version of the table that it was noted with. Where another hand was at
    the table, or a landing was killed before its note, the table itself is read and noted anew.
    """
    if not bronze.exists():
        return {}
    table = bronze.delta()
    noted, version = _noted(step, str(table.metadata().id))
    if version == table.version():
        return noted
    found: Files = {}
    with translated(bronze.uri):
        for batch in table.to_pyarrow_dataset().scanner(columns=["_file", "_file_hash"]).to_batches():
            pairs = pa.Table.from_batches([batch]).group_by(["_file", "_file_hash"]).aggregate([])
            found |= dict(zip(pairs["_file"].to_pylist(), pairs["_file_hash"].to_pylist(), strict=True))
    note_files(step, bronze, noted, found)
    return found


def landing(data_set: DataSet) -> dict[str, Any]:
    """What each landing's commit says of the contract."""
    return {"dating": dating(data_set), "protected": _protected(data_set)}


def outdated(bronze: Table, data_set: DataSet) -> list[str]:
    """Why bronze's records do not fit the contract of today; empty where they do."""
    note, reasons = bronze.note(), []
    if note.get("dating") != dating(data_set):
        reasons.append("records lie on the days of another contract.time, or of an older version")
    return reasons + [f"column '{name}' landed without protection" for name in _bare(note, bronze, data_set)]


def unprotected(bronze: Table, data_set: DataSet) -> list[str]:
    """Personal columns that landed as they were delivered.

    Raises DataRefused for columns that landed protected in another way than the contract asks for now: what they were
    nobody knows any more.
    """
    return _bare(bronze.note(), bronze, data_set)


def _bare(note: dict[str, Any], bronze: Table, data_set: DataSet) -> list[str]:
    before, now = note.get("protected", {}), _protected(data_set)
    for name, how in before.items():
        if now.get(name) != how:
            wants = now.get(name, "as it is delivered")
            raise DataRefused(
                f"{data_set.name}: column '{name}' landed as {how}, and the contract now wants it {wants}",
                where=bronze.uri,
                fix="take the change back, or remove this table and land all drops again",
            )
    return [name for name in now if name not in before]


def require_current(bronze: Table, data_set: DataSet) -> None:
    """Raises DataRefused where bronze must be migrated before it can be added to or read."""
    if bronze.exists() and (reasons := outdated(bronze, data_set)):
        raise DataRefused(
            f"{bronze.label} was written under another contract: {'; '.join(reasons)}",
            where=bronze.uri,
            fix=f"run `nightmill migrate {DATA}{data_set.name}`",
        )


def _protected(data_set: DataSet) -> dict[str, str]:
    """Personal column -> what becomes of it on landing."""
    personal = data_set.contract.personal
    return {name: column.personal or f"blurred by {column.blur:g}" for name, column in personal.items()}


def note_files(step: Step, bronze: Table, before: Files, after: Files) -> None:
    """Notes what changed from one set of landed files to the next, which is that of the table's newest version."""
    table = bronze.delta()
    changed = {name: after.get(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # without a change one row still says up to which version the notes hold
    step.files(str(table.metadata().id), table.version(), changed or {"": None})


def _noted(step: Step, table_id: str) -> tuple[Files, int | None]:
    """Files that ops.files knows of a bronze table, and the version of which they are."""
    ops = step.lake.table("ops", "files")
    if not ops.exists():
        return {}, None
    of_table = (pc.field("subject") == step.subject) & (pc.field("table") == table_id)
    rows = ops.delta().to_pyarrow_table(columns=["version", "file", "hash"], filters=of_table).sort_by("version")
    files: Files = {}
    for name, digest in zip(rows["file"].to_pylist(), rows["hash"].to_pylist()):
        if digest is None:
            files.pop(name, None)
        else:
            files[name] = digest
    return files, rows["version"][-1].as_py() if rows.num_rows else None
