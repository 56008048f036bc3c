"""The right to write to one data set or use case of a lake: at most one run holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import psutil
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import LocalStore, from_url

from nightmill.errors import LeaseHeld, WorkFailed
from nightmill.lake.tables import Lake


@dataclass(frozen=True)
class _Holder:
    run: str
    host: str
    pid: int
    started: float
    expires: float

    def alive(self) -> bool:
        """A holder of this host is alive while its process is; one of another host until its lease expires."""
        if self.host == socket.gethostname():
            try:
                return abs(psutil.Process(self.pid).create_time() - self.started) < 2
            except psutil.NoSuchProcess:
                return False
        return time.time() < self.expires


class Lease:
    """Created exclusively, renewed by a thread while held, taken over when its holder is dead."""

    def __init__(self, lake: Lake, subject: str, run: str, expires: timedelta) -> None:
        self.subject, self._run, self._seconds = subject, run, expires.total_seconds()
        self._folder = Path(lake.root, "ops", "leases") if lake.is_local else None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store: Any = LocalStore(self._folder)
        else:
            options: Any = lake.storage_options or None
            self._store = from_url(f"{lake.root}/ops/leases", config=options)
        self._key = subject.replace("/", ".") + ".json"
        self._stop = threading.Event()
        self._lost = False
        self._renewer: threading.Thread | None = None

    def __enter__(self) -> Lease:
        with self._guard():
            self._take()
        self._renewer = threading.Thread(target=self._renew, name=f"lease {self.subject}", daemon=True)
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._renewer:
            self._renewer.join()
        with self._guard():
            holder = self._holder()
            if holder and holder.run == self._run:
                obstore.delete(self._store, self._key)

    def verify(self) -> None:
        """Raises WorkFailed if the lease was lost; called right before a commit."""
        holder = self._holder()
        if self._lost or holder is None or holder.run != self._run:
            raise WorkFailed(
                f"the lease on {self.subject} was lost while working; nothing was committed",
                where=self._key,
                fix="run the command again when the other run has ended",
            )

    def _take(self) -> None:
        content = self._content()
        try:
            obstore.put(self._store, self._key, content, mode="create")
            return
        except AlreadyExistsError:
            holder = self._holder()
        if holder is not None and holder.alive():
            raise LeaseHeld(
                f"{self.subject} is being worked on by run {holder.run} (process {holder.pid} on {holder.host})",
                where=f"ops/leases/{self._key}",
                fix="wait until that run has ended, then run the command again",
            )
        self._replace(content)

    def _replace(self, content: bytes) -> None:
        """Takes over a dead holder's lease; of several that try at once one wins."""
        if self._folder is not None:  # the guard holds all others of this machine off
            obstore.put(self._store, self._key, content)
            return
        try:
            tag = obstore.head(self._store, self._key)["e_tag"]
            obstore.put(self._store, self._key, content, mode={"e_tag": tag})
        except (PreconditionError, FileNotFoundError):
            raise LeaseHeld(f"{self.subject} was just taken by another run", where=self._key, fix="wait") from None

    def _renew(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            with contextlib.suppress(OSError), self._guard():
                holder = self._holder()
                if holder is None or holder.run != self._run:
                    self._lost = True
                    return
                obstore.put(self._store, self._key, self._content())

    def _holder(self) -> _Holder | None:
        try:
            return _Holder(**json.loads(bytes(obstore.get(self._store, self._key).bytes())))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # a half-written lease of a killed run
            return _Holder("unreadable", "", 0, 0, 0)

    def _content(self) -> bytes:
        now, process = time.time(), psutil.Process()
        holder = _Holder(self._run, socket.gethostname(), os.getpid(), process.create_time(), now + self._seconds)
        return json.dumps(asdict(holder)).encode()

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """On a local file system a lock that ends with its process; object stores compare tags instead."""
        if self._folder is None:
            yield
            return
        with Path(self._folder, ".guard").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
