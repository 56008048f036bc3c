"""Rows that do not fit into the memory budget: memory-mapped Arrow IPC files on a local disk, evicted by size."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from nightmill.errors import MachineError, WorkFailed
from nightmill.handoff.columns import Field, Values

log = logging.getLogger(__name__)

LOCKS = 16
Make = Callable[[dict[str, Values], Callable[[], None]], None]
"""Fills arrays; its second argument hands pages back that are done."""


class Mapped:
    """The arrays of a file of the cache; pages that were read count as the process' memory until `release`."""

    def __init__(self, path: Path, fields: Sequence[Field], rows: int, writable: bool = False) -> None:
        with path.open("r+b" if writable else "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # held until the map ends: what is in use is not evicted
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        if writable:  # else the system keeps the file in pieces of 2 MiB, and maps a whole one for each row
            self._map.madvise(mmap.MADV_RANDOM)
        buffer = pa.py_buffer(self._map)
        batch = pa.ipc.open_file(pa.BufferReader(buffer)).get_batch(0)
        self.arrays: dict[str, Values] = {}
        if len(batch) != rows or batch.schema.names != [field.name for field in fields]:
            raise ValueError("the file holds other rows")
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

    Several processes may share it: one makes a file, the others wait for it; a file in use is not evicted.
    """

    folder: str
    size: int

    @classmethod
    def at(cls, folder: str | None = None, size: int = 50 * 2**30) -> Cache:
        """The one in a folder, or without it in the system's for temporary files."""
        return cls(folder or str(Path(tempfile.gettempdir(), f"nightmill-cache-{os.getuid()}")), size)

    def fetch(
        self,
        key: str,
        fields: Sequence[Field],
        rows: int,
        make: Callable[[dict[str, Values], Callable[[], None]], None],
    ) -> Mapped:
        """The arrays [rows, width] of `fields` under a key.

        Where there are none yet, or what is there cannot be read, `make` fills them. Raises WorkFailed where the cache
        or the disk is too small, MachineError where it cannot be written, and what `make` raises: then nothing is left
        behind.
        """
        path, partial = Path(self.folder, f"{key}.arrow"), Path(self.folder, f"{key}.partial")
        with self._locked(f"lock-{int(key[:8], 16) % LOCKS:02}"):
            if (found := self._found(path, fields, rows)) is not None:
                return found
            try:
                with self._writing(), self._locked("lock-room"):
                    self._make_room(sum(field.row_bytes for field in fields) * rows)
                    _reserve(partial, fields, rows)
                    made = Mapped(partial, fields, rows, writable=True)  # from here on nobody sweeps it
                make(made.arrays, made.release)
                with self._writing():
                    made.release()
                    os.replace(partial, path)
                    return Mapped(path, fields, rows)
            finally:
                partial.unlink(missing_ok=True)

    def _found(self, path: Path, fields: Sequence[Field], rows: int) -> Mapped | None:
        try:
            os.utime(path)  # used now
            return Mapped(path, fields, rows)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, pa.ArrowException) as error:
            log.warning("%s cannot be read and is made anew: %s", path, str(error).splitlines()[0])
            with self._writing():
                path.unlink(missing_ok=True)
            return None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Says in our words what the disk refuses."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                fix = "free space, or let handoff.cache in the environment name another disk"
                raise WorkFailed("the disk of the cache is full", where=self.folder, fix=fix) from None
            what = f"the cache cannot be written: {error.strerror or error}"
            fix = "let handoff.cache in the environment name a folder that can be written"
            raise MachineError(what, where=self.folder, fix=fix) from error

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with self._writing():
            Path(self.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(Path(self.folder, name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # given back with the handle, also by a process that dies
            yield
        finally:
            os.close(handle)

    def _make_room(self, wanted: int) -> None:
        """Evicts what nobody uses, oldest first; files that are being made count as well."""
        if wanted > self.size:
            what = f"the rows of one worker are {wanted:,} bytes, and the cache may hold {self.size:,}"
            fix = "raise handoff.size in the environment, take more workers or less history"
            raise WorkFailed(what, where=self.folder, fix=fix)
        total, there = 0, []
        for path in Path(self.folder).iterdir():
            with contextlib.suppress(FileNotFoundError):
                facts = path.stat()
                if path.suffix == ".partial" and _evicted(path):
                    continue  # whoever made it was killed
                if path.suffix in (".arrow", ".partial"):
                    total += facts.st_size
                    there += [(facts.st_mtime, facts.st_size, path)] if path.suffix == ".arrow" else []
        for _, size, path in sorted(there):
            if total + wanted <= self.size:
                return
            if _evicted(path):
                total -= size
        if total + wanted > self.size:
            what = f"the cache may hold {self.size:,} bytes, {total:,} are in use, and {wanted:,} more are needed"
            fix = "raise handoff.size in the environment: it is for all workers of this machine together"
            raise WorkFailed(what, where=self.folder, fix=fix)


def _evicted(path: Path) -> bool:
    """Removes a file unless somebody has it open."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink(missing_ok=True)
    return True


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
        if isinstance(content, bytes) or size < 4096:  # values come as views of their buffers
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
