"""Rows that do not fit into the memory budget: memory-mapped Arrow IPC files on a local disk, evicted by size."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from nightmill.errors import MachineError, WorkFailed
from nightmill.handoff.columns import Field, Values

STALE = 24 * 3600
"""Seconds after which a file that is still being made belongs to nobody."""
LOCKS = 16
Make = Callable[[dict[str, Values], Callable[[], None]], None]
"""Fills arrays; its second argument hands pages back that are done."""


class Mapped:
    """The arrays of a file of the cache; pages that were read count as the process' memory until `release`."""

    def __init__(self, path: Path, fields: Sequence[Field], writable: bool = False) -> None:
        with path.open("r+b" if writable else "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        if writable:  # else the system keeps the file in pieces of 2 MiB, and maps a whole one for each row
            self._map.madvise(mmap.MADV_RANDOM)
        buffer = pa.py_buffer(self._map)
        batch = pa.ipc.open_file(pa.BufferReader(buffer)).get_batch(0)
        self.arrays: dict[str, Values] = {}
        for field, column in zip(fields, batch.columns, strict=True):
            start = column.values.buffers()[1].address - buffer.address
            flat = np.frombuffer(self._map, field.dtype, len(column) * field.width, start)
            self.arrays[field.name] = flat.reshape(len(column), field.width)

    def release(self) -> None:
        """Hands the pages back; they stay in the system's cache of files, and are mapped again where needed."""
        self._map.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Cache:
    """A folder on a local disk that holds at most `size` bytes; the files that were used longest ago go first.

    Several processes may share it: one makes a file, the others wait for it; a file in use may be evicted, its reader
    keeps it.
    """

    folder: str
    size: int

    @classmethod
    def default(cls, size: int = 50 * 2**30) -> Cache:
        """The one in the system's folder for temporary files."""
        return cls(str(Path(tempfile.gettempdir(), f"nightmill-cache-{os.getuid()}")), size)

    def fetch(
        self,
        key: str,
        fields: Sequence[Field],
        rows: int,
        make: Callable[[dict[str, Values], Callable[[], None]], None],
    ) -> Mapped:
        """The arrays [rows, width] of `fields` under a key.

        Where there are none yet `make` fills them. Raises WorkFailed where the cache or the disk is too small, and what
        `make` raises: then nothing is left behind.
        """
        path = Path(self.folder, f"{key}.arrow")
        with self._locked(key):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)  # used now
                return Mapped(path, fields)
            partial = Path(self.folder, f"{key}.partial")
            try:
                self._make_room(sum(field.row_bytes for field in fields) * rows)
                _reserve(partial, fields, rows)
                made = Mapped(partial, fields, writable=True)
                make(made.arrays, made.release)
                made.release()
                os.replace(partial, path)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    fix = "free space, or let handoff.cache in the environment name another disk"
                    raise WorkFailed("the disk of the cache is full", where=self.folder, fix=fix) from None
                raise MachineError(f"the cache cannot be written: {error}", where=self.folder, fix="") from error
            finally:
                partial.unlink(missing_ok=True)
            return Mapped(path, fields)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        Path(self.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        number = int(key[:8], 16) % LOCKS
        with Path(self.folder, f"lock-{number:02}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # given back with the file, also by a process that dies
            yield

    def _make_room(self, wanted: int) -> None:
        if wanted > self.size:
            what = f"the rows of one worker are {wanted:,} bytes, and the cache may hold {self.size:,}"
            fix = "raise handoff.size in the environment, take more workers or less history"
            raise WorkFailed(what, where=self.folder, fix=fix)
        for partial in Path(self.folder).glob("*.partial"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - partial.stat().st_mtime > STALE:
                    partial.unlink()
        there = []
        for path in Path(self.folder).glob("*.arrow"):
            with contextlib.suppress(FileNotFoundError):
                there.append((path.stat().st_mtime, path.stat().st_size, path))
        total = sum(size for _, size, _ in there)
        for _, size, path in sorted(there):
            if total + wanted <= self.size:
                break
            path.unlink(missing_ok=True)
            total -= size


def boot() -> str:
    """What tells this start of the machine from others: files are not forced to the disk, so they end with it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _reserve(path: Path, fields: Sequence[Field], rows: int) -> None:
    """Writes an Arrow file of one batch around values that are still to come: they are only reserved on the disk."""
    columns = []
    for field in fields:
        empty = pa.py_buffer(np.empty(rows * field.width, field.dtype))  # memory that is never touched
        values = pa.Array.from_buffers(pa.from_numpy_dtype(field.dtype), rows * field.width, [None, empty])
        columns.append(pa.FixedSizeListArray.from_arrays(values, field.width))
    batch = pa.RecordBatch.from_arrays(columns, [field.name for field in fields])
    with path.open("wb") as file, _Skipping(file.fileno()) as sink:
        with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), batch.schema) as writer:
            writer.write_batch(batch)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, sink.at)  # so that a full disk is an error, and no signal
        else:
            file.truncate(sink.at)


class _Skipping:
    """A file for Arrow's writer in which large values are left out."""

    closed = False

    def __init__(self, handle: int) -> None:
        self.handle, self.at = handle, 0

    def __enter__(self) -> _Skipping:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def write(self, content: bytes | memoryview) -> int:
        size = memoryview(content).nbytes
        if size < 4096:
            os.pwrite(self.handle, content, self.at)
        self.at += size
        return size

    def tell(self) -> int:
        return self.at

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
