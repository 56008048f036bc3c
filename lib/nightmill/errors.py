"""The errors that a user may see. Each says what is wrong, where, and what to do; each knows its exit code.

Exit codes: 0 done, 1 bug, 2 bad arguments, configuration or machine, 3 data refused, 4 some use cases failed.
"""

from __future__ import annotations

from typing import Any


class NightmillError(Exception):
    """Base of all errors that are not bugs.

    `what` is one sentence; `where` names a file, line, table or option; `fix` says what to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.what, self.where, self.fix)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)


def _again(kind: type[NightmillError], what: str, where: str, fix: str) -> NightmillError:
    """An error that came from another process."""
    return kind(what, where=where, fix=fix)


class ConfigError(NightmillError):
    """A wrong key, type, name or argument: refused before any work starts."""

    exit_code = 2


class MachineError(NightmillError):
    """The machine lacks something that Nightmill needs: Java, memory, a readable lake."""

    exit_code = 2


class DataRefused(NightmillError):
    """Raw or stored data that a contract does not allow."""

    exit_code = 3


class WorkFailed(NightmillError):
    """A use case could not be done, though arguments and data are right: disk full, training stopped."""

    exit_code = 4


class LeaseHeld(WorkFailed):
    """Another run works on the same data set or use case of this lake."""
