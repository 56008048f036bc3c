"""Turns what engines throw when the world fails (full disk, corrupt file, no right to read) into typed errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from nightmill.errors import DataRefused, MachineError, NightmillError, WorkFailed


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raises the typed error for a failure of Spark, Delta or the file system inside; others pass as they are."""
    try:
        yield
    except NightmillError:
        raise
    except Exception as error:
        typed = translate(error, where)
        if typed is None:
            raise
        raise typed from error


def translate(error: BaseException, where: str) -> NightmillError | None:
    """The typed error that a failure stands for, or None if it is none of the known ones."""
    text = _whole_text(error)
    if "No space left on device" in text or getattr(error, "errno", None) == errno.ENOSPC:
        return WorkFailed(
            "the disk is full; nothing half-written is visible", where=where, fix="free space and run the command again"
        )
    if found := re.search(
        r"is not a Parquet file|Could not read footer|FAILED_READ_FILE|CANNOT_READ_FILE_FOOTER", text
    ):
        file = re.search(r"(?:file|path)[:\s]+'?((?:file:|s3a?:)?/[^\s'\",\]]+)", text)
        return DataRefused(
            f"a file cannot be read ({found[0]})",
            where=file[1].rstrip(".") if file else where,
            fix="restore the file, or remove the table and run its stage again",
        )
    if "Permission denied" in text or "AccessControlException" in text or isinstance(error, PermissionError):
        return MachineError("no right to read or write", where=where, fix="grant access to this path")
    if type(error).__module__.startswith("obstore") or re.search(r"Generic \w+ error: ", text):
        return MachineError(
            f"the object store does not answer: {text.splitlines()[0][:200]}",
            where=where,
            fix="check the URI, the credentials in the environment, and the network",
        )
    if "DELTA_FAILED_TO_MERGE_FIELDS" in text or "DELTA_MERGE_INCOMPATIBLE_DATATYPE" in text:
        column = re.search(r"fields? '([^']+)'", text)
        return DataRefused(
            f"column {column[1] if column else ''} has another type than the table holds".replace("  ", " "),
            where=where,
            fix="let the source deliver the earlier type again, or land it as a data set of its own",
        )
    if re.search(r"Delta(Concurrent|ConcurrentAppend|ConcurrentDelete)|DELTA_CONCURRENT", text):
        return WorkFailed("another writer changed the table meanwhile", where=where, fix="run the command again")
    if re.search(r"Python worker exited unexpectedly|ExecutorLostFailure|OutOfMemoryError|Java heap space", text):
        return WorkFailed(
            "a process of Spark died, as it does when memory runs out; nothing half-written is visible",
            where=where,
            fix="run the command again; on fewer cores, as with --set spark.master=local[2], it needs less memory",
        )
    return None


def _whole_text(error: BaseException) -> str:
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 10:
        parts.append(str(seen))
        java = getattr(seen, "java_exception", None)
        if java is not None:
            parts.append(str(java))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)
