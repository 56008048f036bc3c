"""Opening the Parquet files of a table, on a local disk or an object store, with errors that name the file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import PyFileSystem

from nightmill.errors import DataRefused

LARGEST = 3.4028234663852886e38
"""Of a float32: what lies beyond is infinite there."""
PIECE = 131_072
"""Rows that are decoded at a time: large row groups need no more memory than small ones."""


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

    def open(self, path: str, groups: Sequence[int] | None = None, dictionary: Sequence[str] = ()) -> pq.ParquetFile:
        """The file, its footer read; columns in `dictionary` come dictionary-encoded.

        Raises DataRefused, also where its row groups are not those of `groups`, which say how many rows were pinned.
        """
        with self.refusing(path):
            if self._folder is not None:
                source = pa.OSFile(os.path.join(self._folder, path))
            else:
                source = self._store.open_input_file(path)
            file = pq.ParquetFile(source, read_dictionary=list(dictionary), pre_buffer=self._folder is None)
        meta = file.metadata
        if groups is not None and (meta.num_row_groups, meta.num_rows) != (len(groups), sum(groups)):
            what = f"the file has {meta.num_rows:,} rows, and had {sum(groups):,} when the table was pinned"
            raise DataRefused(what, where=self.where(path), fix="files of a Delta table are never replaced: restore it")
        return file

    def at_hand(self, path: str, groups: Sequence[int]) -> pq.ParquetFile:
        """As `open`; a thread that asks for the same file again has it still."""
        if getattr(self._last, "path", None) != path:
            self._last.file, self._last.path = self.open(path, groups), path
        file: pq.ParquetFile = self._last.file
        return file

    def read(self, file: pq.ParquetFile, path: str, group: int, columns: Sequence[str]) -> pa.Table:
        """One row group, decoded by the calling thread alone.

        Raises DataRefused for a missing column and for bytes that do not decode.
        """
        self._require(file, path, columns)
        with self.refusing(path):
            return file.read_row_group(group, columns=list(columns), use_threads=False)

    def pieces(
        self, file: pq.ParquetFile, path: str, group: int, columns: Sequence[str], many: int = PIECE
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(first row, rows) of a row group, `many` at a time; decoded by the calling thread alone."""
        self._require(file, path, columns)
        first = 0
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
