"""The model registry: MLflow keeps versions and aliases, the lake keeps the models' files as they are."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import random
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nightmill.errors import ConfigError, DataRefused, MachineError, WorkFailed
from nightmill.lake.files import Folder
from nightmill.lake.tables import Lake

if TYPE_CHECKING:
    from mlflow import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
FILES = ("model.safetensors", "model.json")
PATIENCE = 30.0
"""Seconds that a call waits for a SQLite file that other processes have locked."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Stored:
    """Where the files of a version lie and what they must be: little enough to be sent to any process."""

    of: str
    """What it is, for messages."""
    place: str
    """Folder or URI."""
    digests: tuple[tuple[str, str | None], ...]
    """(name, SHA-256) of each file; None where it was not registered."""

    def read(self, name: str, storage_options: dict[str, str] | None = None) -> bytes:
        """A file's content. Raises DataRefused where it is lost, or not what was registered.

        Without options an object store is reached by what the environment says.
        """
        content, expected = Folder(self.place, storage_options or {}).get(name), dict(self.digests)[name]
        if content is None or _digest(content) != (expected or _digest(content)):
            what = "has lost its file" if content is None else "has a damaged file"
            fix = "restore the folder, or train the model again"
            raise DataRefused(f"{self.of} {what} {name}", where=self.place, fix=fix)
        return content

    def load(self, storage_options: dict[str, str] | None = None) -> dict[str, bytes]:
        """All files, name -> content; as `read`."""
        return {name: self.read(name, storage_options) for name, _ in self.digests}


@dataclass(frozen=True)
class Registry:
    """Versions of each use case's model. The model's name in MLflow is the use case's with a dot for the slash."""

    uri: str
    """Tracking URI of MLflow."""
    folder: str
    """Folder or URI below which the models' files lie."""
    storage_options: dict[str, str]

    @classmethod
    def open(cls, lake: Lake, uri: str | None = None) -> Registry:
        """The registry of a lake; without a server's URI a SQLite file in the lake.

        Raises ConfigError where the lake is an object store, which cannot hold a SQLite file, and no URI is given.
        """
        if uri is None and not lake.is_local:
            raise ConfigError(
                "a lake on an object store needs an MLflow server",
                where="mlflow.uri in the environment",
                fix="set mlflow.uri, as in http://mlflow:5000 or postgresql://…",
            )
        return cls(uri or f"sqlite:///{lake.root}/mlflow.db", f"{lake.root}/models", lake.storage_options)

    def register(self, files: dict[str, bytes], use_case: str, run: str) -> int:
        """Stores a model's files (name -> content) and makes them the use case's candidate; returns the version."""
        name = _name(use_case)
        place = f"{self.folder}/{use_case}/{uuid.uuid4().hex}"
        folder = Folder(place, self.storage_options)
        for file, content in files.items():
            folder.put(file, content)
        if not self._exists(name):
            self._create(name)
        tags = {"run": run, "use_case": use_case} | {_digest_of(f): _digest(files[f]) for f in files}
        made = self.call(lambda c: c.create_model_version(name, source=place, tags=tags))
        version = int(made.version)
        self.call(lambda c: c.set_registered_model_alias(name, CANDIDATE, str(version)))
        return version

    def candidate(self, use_case: str) -> int | None:
        """The version trained last, None before the first."""
        return self._aliased(use_case, CANDIDATE)

    def champion(self, use_case: str) -> int | None:
        """The version that scores, None before the first promotion."""
        return self._aliased(use_case, CHAMPION)

    def promote(self, use_case: str, version: int) -> None:
        """Makes a version the champion. Raises ConfigError where there is no such version."""
        self._version(use_case, version)
        self.call(lambda c: c.set_registered_model_alias(_name(use_case), CHAMPION, str(version)))

    def load(self, use_case: str, version: int) -> dict[str, bytes]:
        """A version's files, name -> content.

        Raises ConfigError for an unknown version, DataRefused for files that are lost or not what was registered.
        """
        return self.stored(use_case, version).load(self.storage_options)

    def stored(self, use_case: str, version: int) -> Stored:
        """Where a version's files lie. Raises ConfigError for an unknown version.

        They are looked for below the registry's own folder: MLflow keeps whole paths, but a lake may be moved.
        """
        made = self._version(use_case, version)
        place = f"{self.folder}/{use_case}/{str(made.source).rpartition('/')[2]}"
        digests = tuple((name, made.tags.get(_digest_of(name))) for name in FILES)
        return Stored(f"version {version} of {use_case}", place, digests)

    def trained_by(self, use_case: str, version: int) -> str:
        """The run that trained a version. Raises ConfigError for an unknown version."""
        return str(self._version(use_case, version).tags.get("run", ""))

    def versions(self, use_case: str) -> list[int]:
        """All versions, oldest first."""
        found = self.call(lambda c: list(c.search_model_versions(f"name='{_name(use_case)}'", max_results=1000)))
        return sorted(int(item.version) for item in found)

    def curves(self, use_case: str, version: int, names: tuple[str, ...]) -> dict[str, list[tuple[int, float]]]:
        """Figures per epoch that the training of a version logged: name -> (epoch, value); empty where it told none."""
        found = self._found(lambda c: c.get_model_version(_name(use_case), str(version)))
        run = found.tags.get("mlflow_run") if found is not None else None
        if run is None:
            return {}
        told = {name: self.call(partial(_history, run, name)) for name in names}
        return {name: points for name, points in told.items() if points}

    def tag(self, use_case: str, version: int, key: str, value: str) -> None:
        """Sets a tag of a version."""
        self.call(lambda c: c.set_model_version_tag(_name(use_case), str(version), key, value))

    def call(self, ask: Callable[[MlflowClient], Result]) -> Result:
        """Asks MLflow, waiting while other processes hold its SQLite file.

        Raises WorkFailed where the file stays locked, MachineError where the server cannot be reached.
        """
        end, pause = time.monotonic() + PATIENCE, 0.05
        while True:
            try:
                with _quiet():
                    return ask(self._client)
            except Exception as error:
                self._refuse_unreachable(error)
                if not _locked(error):
                    raise
                if time.monotonic() + pause > end:
                    raise WorkFailed(
                        f"the model registry stayed locked for {PATIENCE:.0f} s",
                        where=self.uri,
                        fix="let other runs end, or use an MLflow server (mlflow.uri) for many runs at once",
                    ) from None
            # several processes that wait must not come back all at once
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 2.0)

    @cached_property
    def _client(self) -> MlflowClient:
        # MLflow sends usage data to its makers unless told not to
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its seven keep a night waiting for minutes
        with _quiet(), self._first_alone():
            from mlflow import MlflowClient

            with _quiet():  # its import sets up its own logging
                client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                client.search_registered_models(max_results=1)  # creates the SQLite file's tables
            return client

    @contextmanager
    def _first_alone(self) -> Iterator[None]:
        """One process at a time: two that create the tables of a new SQLite file stumble over each other."""
        path = self.uri.removeprefix("sqlite:///")
        if path == self.uri:
            yield
            return
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{path}.lock", os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError as error:
            raise MachineError(f"cannot write: {error.strerror}", where=path, fix="grant access to it") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _aliased(self, use_case: str, alias: str) -> int | None:
        name = _name(use_case)
        found = self._found(lambda c: c.get_model_version_by_alias(name, alias))
        return None if found is None else int(found.version)

    def _version(self, use_case: str, version: int) -> Any:
        found = self._found(lambda c: c.get_model_version(_name(use_case), str(version)))
        if found is None:
            known = ", ".join(map(str, self.versions(use_case))) or "none"
            raise ConfigError(f"{use_case} has no model version {version}", where=self.uri, fix=f"known: {known}")
        return found

    def _exists(self, name: str) -> bool:
        return self._found(lambda c: c.get_registered_model(name)) is not None

    def _create(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.call(lambda c: c.create_registered_model(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was first
                raise

    def _found(self, ask: Callable[[MlflowClient], Any]) -> Any:
        """What is asked for, None where MLflow knows no such thing."""
        from mlflow.exceptions import MlflowException

        try:
            return self.call(ask)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _refuse_unreachable(self, error: Exception) -> None:
        text = f"{type(error).__name__} {error}"
        if any(sign in text for sign in ("ConnectionError", "Max retries exceeded", "Connection refused")):
            raise MachineError(
                "the MLflow server cannot be reached", where=self.uri, fix="start it, or correct mlflow.uri"
            ) from None


def _name(use_case: str) -> str:
    return use_case.replace("/", ".")


def _digest_of(file: str) -> str:
    """The tag with a file's digest."""
    return f"sha256 {file}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _history(run: str, metric: str, client: MlflowClient) -> list[tuple[int, float]]:
    return sorted((int(point.step), float(point.value)) for point in client.get_metric_history(run, metric))


def _locked(error: Exception) -> bool:
    return any(sign in str(error) for sign in ("database is locked", "database table is locked"))


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow and alembic tell users of table migrations and pending deprecations; none of it is theirs to act on."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
