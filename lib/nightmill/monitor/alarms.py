"""When a figure becomes an alarm, and when it ceases to be one: with hysteresis, so that nobody is called twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

State = Literal["raised", "stays", "cleared"]
Name = tuple[str, str, str]
"""Subject, kind and slice of an alarm."""

CALM = 0.8
"""An alarm ends below this share of the limit that raised it."""
NOW = "; now "
"""Stands between why an alarm was raised and what is measured while it ends."""
NIGHTS = 2
"""Nights in a row below it that end an alarm."""


@dataclass(frozen=True)
class Figure:
    """Something that was measured, and the limit above which it is an alarm."""

    subject: str
    """Data set (data/city/air) or use case."""
    kind: str
    """late, incomplete, refused, failed, error, coverage, drift, fallback or level."""
    slice: str
    """What part of it, as in district=north; empty for all of it."""
    value: float
    limit: float
    what: str
    """One line for people."""
    nights: int = NIGHTS
    """Nights in a row clearly below the limit that end an alarm."""

    @property
    def name(self) -> Name:
        """What tells its alarm from others."""
        return self.subject, self.kind, self.slice


@dataclass(frozen=True)
class Alarm:
    """An alarm after a night."""

    figure: Figure
    state: State
    since: date
    """Night that raised it."""
    calm: int = 0
    """Nights in a row that it has been below the limit's share."""


def judge(figures: Iterable[Figure], open_before: Mapping[Name, Alarm], night: date) -> list[Alarm]:
    """What each alarm is after this night, those that were raised first.

    A figure above its limit raises an alarm or keeps it up. An open one ends when its figure was below `CALM` of the
    limit for its `nights` in a row; where it was not measured it stays as it is.
    """
    found: list[Alarm] = []
    measured = {figure.name: figure for figure in figures}
    for name, figure in measured.items():
        before = open_before.get(name)
        if figure.value > figure.limit:
            found.append(Alarm(figure, "stays" if before else "raised", before.since if before else night))
        elif before is not None:
            calm = before.calm + 1 if figure.value <= CALM * figure.limit else 0
            why = before.figure.what.partition(NOW)[0]
            figure = replace(figure, what=f"{why}{NOW}{figure.what}")
            found.append(Alarm(figure, "cleared" if calm >= figure.nights else "stays", before.since, calm))
    found += [replace(alarm, state="stays") for name, alarm in open_before.items() if name not in measured]
    order = {"raised": 0, "stays": 1, "cleared": 2}
    return sorted(found, key=lambda a: (order[a.state], a.figure.name))


def open_alarms(told: Iterable[Mapping[str, Any]]) -> dict[Name, Alarm]:
    """The alarms that are up after the events of ops.alarms, given in order of time."""
    found: dict[Name, Alarm] = {}
    for row in told:
        figure = Figure(row["subject"], row["kind"], row["slice"], row["value"], row["limit"], row["what"])
        if row["state"] == "cleared":
            found.pop(figure.name, None)
        else:
            found[figure.name] = Alarm(figure, "stays", row["since"], row["calm"])
    return found


def in_words(row: Mapping[str, Any]) -> str:
    """An alarm, as ops.alarms has it, in one line."""
    where = f" ({row['slice']})" if row["slice"] else ""
    return f"{row['subject']}{where}: {row['kind']}: {row['what']}"
