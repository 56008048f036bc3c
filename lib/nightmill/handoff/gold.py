"""Pinning: the exact files of one version of a gold table, so that later writes and vacuums are noticed or harmless."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from nightmill.errors import DataRefused
from nightmill.handoff.files import Storage

FOOTER_THREADS = 8


@dataclass(frozen=True)
class PinnedFile:
    """One Parquet file of a pinned table."""

    path: str
    """Place relative to the table."""
    size: int
    """Bytes."""
    groups: tuple[int, ...]
    """Rows of each row group."""


@dataclass(frozen=True)
class Pinned:
    """One version of a gold table: what `build_index` and `Batches` read, whatever happens to the table meanwhile."""

    uri: str
    """Absolute path, or URI with a scheme."""
    version: int
    """Delta version."""
    files: tuple[PinnedFile, ...]
    """Data files, by path."""
    storage_options: Mapping[str, str] | None = field(default=None, repr=False, compare=False)
    """How to reach an object store, as deltalake takes it; may hold secrets, so it is neither shown nor saved."""
    id: str = ""
    """Delta's own name of the table: one that was made anew in the same place has another."""

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return sum(sum(file.groups) for file in self.files)

    def to_json(self) -> str:
        """Everything but the storage options, for the model and the checkpoint to keep."""
        files = [[file.path, file.size, list(file.groups)] for file in self.files]
        return json.dumps({"uri": self.uri, "id": self.id, "version": self.version, "files": files})

    @classmethod
    def from_json(cls, text: str, storage_options: Mapping[str, str] | None = None) -> Pinned:
        """What `to_json` wrote; raises DataRefused when it is something else."""
        try:
            raw = json.loads(text)
            files = tuple(PinnedFile(str(path), int(size), tuple(map(int, g))) for path, size, g in raw["files"])
            return cls(str(raw["uri"]), int(raw["version"]), files, storage_options, str(raw.get("id", "")))
        except (ValueError, KeyError, TypeError) as error:
            what = f"this is no pinned table: {error!r}"
            raise DataRefused(what, where=text[:80], fix="pin the table again") from None


def pin(
    uri: str | os.PathLike[str], version: int | None = None, storage_options: Mapping[str, str] | None = None
) -> Pinned:
    """Pins `version` (the newest without it): its file list, and rows per row group from the Parquet footers.

    Raises DataRefused where the rows of the files are not the rows of the table (deletion vectors, column mapping),
    or cannot all be read: no such table or version, a file that is missing, as after a vacuum, or corrupt.
    """
    uri = os.fspath(uri)
    uri = uri if "://" in uri else os.path.abspath(uri)
    table = _open(uri, version, storage_options)
    _refuse_indirections(table, uri)
    actions = pa.table(table.get_add_actions())
    sizes = zip(actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist(), strict=True)
    files = tuple(PinnedFile(unquote(path), size, ()) for path, size in sorted(sizes))
    if elsewhere := [file.path for file in files if "://" in file.path or file.path.startswith("/")]:
        what = f"{len(elsewhere)} files of the table belong to another one (a shallow clone), as {elsewhere[0]}"
        raise DataRefused(what, where=uri, fix="pin the other table, or make a deep copy")
    gold = Pinned(uri, table.version(), files, storage_options, str(table.metadata().id))
    storage = Storage(gold.uri, storage_options)

    def with_groups(file: PinnedFile) -> PinnedFile:
        footer = storage.open(file).metadata
        return replace(file, groups=tuple(footer.row_group(i).num_rows for i in range(footer.num_row_groups)))

    with ThreadPoolExecutor(FOOTER_THREADS) as pool:
        return replace(gold, files=tuple(pool.map(with_groups, gold.files)))


def _open(uri: str, version: int | None, storage_options: Mapping[str, str] | None) -> DeltaTable:
    options = dict(storage_options) if storage_options else None
    if version is not None and version < 0:
        raise DataRefused(
            f"versions begin with 0, and {version} was asked for", where=uri, fix="name one that there is"
        )
    try:
        return DeltaTable(uri, version=version, storage_options=options)
    except TableNotFoundError as error:
        fix = "check the path and --lake; the features command writes gold tables"
        raise DataRefused(f"there is no Delta table: {_first_line(error)}", where=uri, fix=fix) from None
    except (DeltaError, OSError) as error:
        wanted = "the table" if version is None else f"version {version} of the table"
        fix = "pin a newer version: old ones leave the log with time" if version is not None else "check access to it"
        raise DataRefused(f"{wanted} cannot be read: {_first_line(error)}", where=uri, fix=fix) from None


def _refuse_indirections(table: DeltaTable, uri: str) -> None:
    where = f"{uri} version {table.version()}"
    mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        fix = "rewrite the table without delta.columnMapping.mode"
        raise DataRefused(f"the table maps its columns (by {mapping}) to other names", where=where, fix=fix)
    if "deletionVectors" in (table.protocol().reader_features or []):
        try:
            marked = sum(len(batch) for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()))
        except DeltaError:  # a vector that cannot be read is a vector
            marked = 1
        if marked:
            fix = "set delta.enableDeletionVectors to false and run REORG TABLE … APPLY (PURGE)"
            raise DataRefused(f"{marked} files of the table have deletion vectors", where=where, fix=fix)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
