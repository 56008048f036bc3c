"""The lake and the folder of raw drops."""

from __future__ import annotations

import errno
import os
import tempfile
import urllib.request
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from nightmill.config import Environment
from nightmill.doctor.check import Check
from nightmill.doctor.machine import disk
from nightmill.logs import without_secrets
from nightmill.web import request

PATIENCE = 5.0
"""Seconds that a server has to answer."""


def lake(environment: Environment) -> Check:
    """Whether the lake can be listed, written and read: with a small file that is taken away again."""
    if "://" in environment.lake:
        return _remote_lake(environment.lake)
    folder = Path(environment.lake).expanduser().absolute()
    present = _present(folder)
    fix = f"grant rwx on {present}, or pass another --lake PATH"
    if not present.is_dir():
        return Check("lake", "fail", f"{present} is a file, not a folder", "pass another --lake PATH")
    try:
        os.listdir(present)
        with tempfile.TemporaryFile(dir=present) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        full = error.errno == errno.ENOSPC
        return Check("lake", "fail", f"{folder}: {error.strerror}", "free space on that disk" if full else fix)
    return Check("lake", "ok", str(folder) if present == folder else f"{folder} (will be created)")


def lake_disk(environment: Environment) -> Check:
    """Space on the lake's disk."""
    if "://" in environment.lake:
        return Check("lake's disk", "ok", "the lake is no local folder")
    folder = _present(Path(environment.lake).expanduser().absolute())
    return disk("lake's disk", folder, "free space, or pass --lake with a roomier folder")


def raw(environment: Environment) -> Check:
    """Whether the raw folder can be listed."""
    if environment.raw is None:
        return Check("raw drops", "ok", "no folder given; commands that land will want --raw PATH")
    if "://" in environment.raw:
        try:
            next(iter(_store(environment.raw).list(chunk_size=1)), None)
        except Exception as error:
            return Check(
                "raw drops", "fail", f"{environment.raw}: {_first_line(error)}", "check address and credentials"
            )
        return Check("raw drops", "ok", environment.raw)
    folder = Path(environment.raw).expanduser().absolute()
    try:
        count = len(os.listdir(folder))
    except OSError as error:
        return Check("raw drops", "fail", f"{folder}: {error.strerror}", "check --raw PATH and its rights")
    if count == 0:
        return Check("raw drops", "warn", f"{folder} is empty", "check --raw PATH")
    return Check("raw drops", "ok", str(folder))


def alarms(environment: Environment) -> Check:
    """Whether alarms and figures can go where they are wanted; the address of a webhook is never shown."""
    from nightmill.monitor.tell import WEBHOOK

    address, file = os.environ.get(WEBHOOK, ""), environment.night.prometheus
    if address and urlsplit(address).scheme not in ("http", "https"):
        return Check("alarms", "warn", f"{WEBHOOK} is no http address", "correct it: alarms are not posted")
    if file is not None:
        folder = _present(Path(file).expanduser().absolute().parent)
        if not folder.is_dir() or not _can_write(folder):
            return Check("alarms", "warn", f"{folder} cannot be written", "correct night.prometheus, or grant rwx")
    wanted = [f"posted to {urlsplit(address).hostname}"] * bool(address) + [f"figures in {file}"] * bool(file)
    return Check("alarms", "ok", ", ".join(["in the tables and the report", *wanted]))


def models(environment: Environment) -> Check:
    """Whether an MLflow server answers, where one is named."""
    uri = environment.mlflow.uri
    if uri is None:
        return Check("models", "ok", "a SQLite file in the lake")
    if uri.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(request(f"{uri.rstrip('/')}/health"), timeout=PATIENCE):
                pass
        except OSError as error:
            return Check("models", "fail", f"{without_secrets(uri)}: {error}", "start it, or correct mlflow.uri")
    return Check("models", "ok", without_secrets(uri))


def _remote_lake(uri: str) -> Check:
    key, content = f".doctor-{uuid4().hex}", b"nightmill doctor"
    try:
        store = _store(uri)
        store.put(key, content, mode="create")
        try:
            same = bytes(store.get(key).bytes()) == content
        finally:
            store.delete(key)
    except Exception as error:  # each store has errors of its own
        return Check(
            "lake", "fail", f"{uri}: {_first_line(error)}", "check the address, the credentials and their rights"
        )
    if not same:
        return Check("lake", "fail", f"{uri} returned other bytes than were written", "check the object store")
    return Check("lake", "ok", uri)


def _store(uri: str) -> Any:
    from obstore.store import from_url

    return from_url(uri)


def _can_write(folder: Path) -> bool:
    """Tried: what a file system refuses (as /proc does) its rights do not always say."""
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _present(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
