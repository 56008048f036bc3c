"""The stage `report`: the morning report of a night, written as one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from nightmill.config import DataSet, UseCase
from nightmill.errors import DataRefused
from nightmill.lake.files import Folder
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.report.gather import Inputs, gather
from nightmill.report.render import render

log = logging.getLogger(__name__)


@dataclass
class Reported:
    """What was written."""

    day: date
    path: str
    """Of the HTML file."""
    bytes: int
    alarms: int
    """Alarms that are up."""
    steps: int
    failed: int


def write_report(
    lake: Lake,
    registry: Registry | None,
    use_cases: Iterable[tuple[UseCase, Inputs]],
    data_sets: Iterable[DataSet],
    day: date,
    file: str | None = None,
) -> Reported:
    """Writes the report of a day's night to `<lake>/reports/<day>.html`, or to `file`: whole, or not at all.

    Everything is read from the lake and the registry: the report of any night can be written again. Readers of the
    file see the old one or the new one. Raises DataRefused for a night that never was, WorkFailed on a
    full disk.
    """
    morning = gather(lake, registry, use_cases, data_sets, day)
    if not morning.steps:
        raise DataRefused(
            f"no night of {day} has run here", where=lake.root, fix="run `nightmill nightly --day D` first"
        )
    page = render(morning).encode()
    path = file or _path(lake, day)
    folder, name = Folder.of(path, lake.storage_options)
    folder.put(name, page)
    log.info("%s: %d bytes", path, len(page))
    failed = sum(ran.state in ("failed", "killed") for ran in morning.steps)
    return Reported(day, path, len(page), sum(a.is_up for a in morning.alarms), len(morning.steps), failed)


def is_reported(lake: Lake, day: date) -> bool:
    """Whether the report of a day's night has been written to its usual place."""
    folder, name = Folder.of(_path(lake, day), lake.storage_options)
    return folder.has(name)


def _path(lake: Lake, day: date) -> str:
    return f"{lake.root}/reports/{day}.html"
