"""Small files that appear whole or not at all, in a folder or on an object store."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightmill.errors import MachineError, WorkFailed


@dataclass(frozen=True)
class Folder:
    """A folder of this machine or a prefix of an object store (a URI with a scheme)."""

    uri: str
    storage_options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, file: str, storage_options: dict[str, str] | None = None) -> tuple[Folder, str]:
        """(folder, name) of a file's path or URI."""
        head, _, name = file.rpartition("/")
        return cls(head or ".", storage_options or {}), name

    def put(self, name: str, content: bytes) -> None:
        """Writes a file atomically: readers see the old content or the new. Raises WorkFailed on a full disk."""
        if "://" in self.uri:
            import obstore

            obstore.put(self._store(), name, content)
            return
        try:
            self._replace(name, content)
        except OSError as error:
            where = f"{self.uri}/{name}"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WorkFailed("the disk is full", where=where, fix="free space and run the command again") from None
            raise MachineError(f"cannot write: {error.strerror}", where=where, fix="grant access to it") from None

    def get(self, name: str) -> bytes | None:
        """A file's content, None where it does not exist."""
        if "://" in self.uri:
            import obstore

            try:
                return bytes(obstore.get(self._store(), name).bytes())
            except FileNotFoundError:
                return None
        try:
            return Path(self.uri, name).read_bytes()
        except FileNotFoundError:
            return None

    def has(self, name: str) -> bool:
        """Whether a file exists."""
        if "://" in self.uri:
            import obstore

            try:
                obstore.head(self._store(), name)
            except FileNotFoundError:
                return False
            return True
        return Path(self.uri, name).is_file()

    def names(self) -> list[str]:
        """All files below, as paths from here; none where there is no such folder."""
        if "://" in self.uri:
            import obstore

            return [item["path"] for page in obstore.list(self._store()) for item in page]
        root = Path(self.uri)
        return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]

    def delete(self, name: str) -> None:
        """Removes a file; one that is not there is fine."""
        if "://" in self.uri:
            import obstore

            with contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store(), name)
            return
        Path(self.uri, name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the folder and all that lies in it; one that is not there is fine."""
        if "://" in self.uri:
            import obstore

            if paths := self.names():
                obstore.delete(self._store(), paths)
            return
        shutil.rmtree(self.uri, ignore_errors=True)

    def _replace(self, name: str, content: bytes) -> None:
        folder = Path(self.uri)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{secrets.token_hex(6)}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # who may read it is up to the umask
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, folder / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _store(self) -> Any:
        from obstore.store import from_url

        # Spark and Hadoop write s3a, object_store knows s3
        return from_url(self.uri.replace("s3a://", "s3://", 1), config=self.storage_options or None)  # type: ignore[arg-type]
