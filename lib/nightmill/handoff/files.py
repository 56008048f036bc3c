"""Opening the Parquet files of a table, on a local disk or an object store, with errors that name the file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import PyFileSystem

from nightmill.errors import DataRefused

if TYPE_CHECKING:
    from nightmill.handoff.gold import PinnedFile

LARGEST = 3.4028234663852886e38
"""Of a float32: what lies beyond is infinite there."""
PIECE, PIECE_BYTES = 131_072, 16 * 2**20
"""Rows that are decoded at a time, and bytes: large row groups need no more memory than small ones, nor do images."""
LARGE_GROUP, BUFFER = 64 * 2**20, 2**20
"""Bytes of a row group from which on a column is read in buffers of so many bytes instead of as a whole."""


class Storage:
    """The files below one table URI."""

    def __init__(self, uri: str, options: Mapping[str, str] | None = None) -> None:
        self.uri, self._last = uri, threading.local()
        self._folder = uri if "://" not in uri else None
        if self._folder is None:
            self._store = PyFileSystem(DeltaStorageHandler(uri, dict(options) if options else None))

    @property
    def local(self) -> bool:
        """Whether the files lie on a disk of this machine (or one that is mounted)."""
        return self._folder is not None

    def where(self, path: str) -> str:
        """The file's full place, for messages."""
        return f"{self.uri.rstrip('/')}/{path}"

    def open(self, pinned: PinnedFile, dictionary: Sequence[str] = ()) -> pq.ParquetFile:
        """The file, its footer read; columns in `dictionary` come dictionary-encoded where their encoding allows it.

        Raises DataRefused, also where it is not the file that was pinned: another size, or other row groups.
        """
        options: dict[str, Any]
        path, options = pinned.path, {"pre_buffer": self._folder is None}
        with self.refusing(path):
            source = self._source(path)
            size = source.size()
            file = pq.ParquetFile(source, **options)
            meta, names = file.metadata, set(file.schema_arrow.names)
        rows = sum(pinned.groups)
        if size != pinned.size or (
            pinned.groups and (meta.num_row_groups, meta.num_rows) != (len(pinned.groups), rows)
        ):
            what = f"the file has {size:,} bytes and {meta.num_rows:,} rows; the table says "
            what += f"{pinned.size:,} bytes" + (f" and {rows:,} rows" if pinned.groups else "")
            raise DataRefused(what, where=self.where(path), fix="files of a Delta table are never replaced: restore it")
        encoded = [name for name in dictionary if name in names and _has_dictionary(meta, name)]
        groups = range(meta.num_row_groups)
        if any(meta.row_group(group).total_byte_size > LARGE_GROUP for group in groups):
            options = {"pre_buffer": False, "buffer_size": BUFFER}
        elif not encoded:
            return file
        with self.refusing(path):
            return pq.ParquetFile(source, metadata=meta, read_dictionary=encoded, **options)

    def _source(self, path: str) -> pa.NativeFile:
        if self._folder is not None:
            return pa.OSFile(os.path.join(self._folder, path))
        return self._store.open_input_file(path)

    def at_hand(self, pinned: PinnedFile) -> pq.ParquetFile:
        """As `open`; a thread that asks for the same file again has it still."""
        if getattr(self._last, "path", None) != pinned.path:
            self._last.file, self._last.path = self.open(pinned), pinned.path
        file: pq.ParquetFile = self._last.file
        return file

    def pieces(
        self, file: pq.ParquetFile, path: str, group: int, columns: Sequence[str], many: int = PIECE
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(first row, rows) of a row group, at most `many` at a time; decoded by the calling thread alone.

        Raises DataRefused for a missing column and for bytes that do not decode.
        """
        self._require(file, path, columns)
        many, first = min(many, _rows_of_a_piece(file, group, columns)), 0
        with self.refusing(path):
            for rows in file.iter_batches(many, row_groups=[group], columns=list(columns), use_threads=False):
                yield first, rows
                first += rows.num_rows

    def finite(self, file: pq.ParquetFile, group: int, columns: Sequence[str]) -> set[str]:
        """Those of some columns of which the statistics say that all values of a row group are finite as float32."""
        meta, wanted, found = file.metadata.row_group(group), set(columns), set()
        for number, name in enumerate(file.schema.names):
            if name not in wanted or file.schema.column(number).path != name:  # or a part of a struct
                continue
            column = meta.column(number)
            stats = column.statistics if column.physical_type in ("FLOAT", "DOUBLE") else None
            whole = column.physical_type in ("INT32", "INT64", "BOOLEAN")
            if whole or (stats is not None and stats.has_min_max and stats.min >= -LARGEST and stats.max <= LARGEST):
                found.add(name)
        return found

    def _require(self, file: pq.ParquetFile, path: str, columns: Sequence[str]) -> None:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            known = ", ".join(file.schema_arrow.names)
            fix = f"rebuild the table with the features command, or ask for one of: {known}"
            raise DataRefused(f"there is no column '{missing[0]}'", where=self.where(path), fix=fix)

    @contextmanager
    def refusing(self, path: str) -> Iterator[None]:
        """Turns what Arrow and the store raise about a file into DataRefused."""
        try:
            yield
        except FileNotFoundError:
            fix = "pin a newer version of the table, or restore the file; vacuum with longer retention"
            what = "a file of the pinned version is gone (vacuumed?)"
            raise DataRefused(what, where=self.where(path), fix=fix) from None
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            fix = "restore the file from a copy, or rebuild its days with the features command"
            raise DataRefused(f"a Parquet file cannot be read: {reason}", where=self.where(path), fix=fix) from None


def _has_dictionary(meta: pq.FileMetaData, name: str) -> bool:
    """Whether Arrow can hand a column of text over as a dictionary: it cannot where the text is written as deltas."""
    of_group = meta.row_group(0) if meta.num_row_groups else None
    columns = (of_group.column(number) for number in range(of_group.num_columns)) if of_group else ()
    return not any(c.path_in_schema == name and any("DELTA" in kind for kind in c.encodings) for c in columns)


def _rows_of_a_piece(file: pq.ParquetFile, group: int, columns: Sequence[str]) -> int:
    """So many that they are about `PIECE_BYTES`, by what the footer says of their size."""
    meta, wanted = file.metadata.row_group(group), set(columns)
    parts = (meta.column(number) for number in range(meta.num_columns))
    bytes_ = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] in wanted)
    return max(1, PIECE_BYTES * meta.num_rows // max(bytes_, 1))
