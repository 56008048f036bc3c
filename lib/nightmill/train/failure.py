"""Errors that travel: between ranks, and from a worker to the process that asked for the training."""

from __future__ import annotations

from nightmill import errors
from nightmill.errors import NightmillError, WorkFailed

MOST_ATTEMPTS = 2
"""What lost its workers this often without a further checkpoint is given up: it takes nothing else with it."""


def to_json(error: BaseException) -> dict[str, str]:
    """An error as plain texts. What is not a NightmillError becomes a WorkFailed that names its type."""
    if not isinstance(error, NightmillError):
        error = _translated(error)
    return {"type": type(error).__name__, "what": error.what, "where": error.where, "fix": error.fix}


def from_json(data: dict[str, str]) -> NightmillError:
    """The inverse of `to_json`."""
    kind: type[NightmillError] = getattr(errors, data["type"], WorkFailed)
    return kind(data["what"], where=data["where"], fix=data["fix"])


def of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory, on the GPU or beside it."""
    name = type(error).__name__
    return name == "OutOfMemoryError" or isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _translated(error: BaseException) -> NightmillError:
    name = type(error).__name__
    text = (str(error).strip().splitlines() or [""])[0]
    if of_memory(error):
        return WorkFailed("training ran out of memory", fix="raise train.accumulate, lower train.batch or model.window")
    return WorkFailed(f"training stopped: {name}: {text}", fix="run with --debug for the stack trace")
