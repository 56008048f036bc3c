"""Everything that the report of a night says, out of the lake's tables, the registry and MLflow. No Spark."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

from nightmill import __version__
from nightmill.config import DataSet, UseCase
from nightmill.config.values import DATA
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.report.data import data_page
from nightmill.report.night import alarms_of, night_of
from nightmill.report.places import areas_of, places_of, plans_of
from nightmill.report.told import Morning
from nightmill.report.usecase import in_use, use_case_page

log = logging.getLogger(__name__)
Inputs = Mapping[str, DataSet]


def gather(
    lake: Lake,
    registry: Registry | None,
    use_cases: Iterable[tuple[UseCase, Inputs]],
    data_sets: Iterable[DataSet],
    day: date,
) -> Morning:
    """The morning after the night of a day, be it the last one or long ago."""
    night, alarms = night_of(lake, day), alarms_of(lake, day)
    until = night.ended or datetime.now(UTC)
    pairs = list(use_cases)
    sets = {d.name: d for d in data_sets} | {d.name: d for _, inputs in pairs for d in inputs.values()}
    ordered = [sets[name] for name in sorted(sets)]
    places = places_of(lake, ordered, day)
    pages, used, idle = [], {}, []
    for use_case, inputs in pairs:
        touched = any(ran.subject == use_case.name for ran in night.steps)
        if not touched and not in_use(lake, use_case):
            idle.append(use_case.name)
            continue
        log.info("report %s", use_case.name)
        areas = areas_of(use_case, inputs, ordered, places)
        page = use_case_page(lake, registry, use_case, inputs, day, until, alarms, night.steps, areas)
        pages.append(page)
        used[use_case.name] = (use_case, inputs, page.entities)
    told = [one for data_set in ordered if (one := data_page(lake, data_set, day)) is not None]
    subjects = {use_case.name for use_case, _ in pairs} | {f"{DATA}{name}" for name in sets}
    return Morning(
        day=day,
        steps=[ran for ran in night.steps if ran.subject in subjects],
        alarms=[alarm for alarm in alarms if alarm.subject in subjects],
        plans=plans_of(lake, ordered, places, used),
        use_cases=pages,
        data=told,
        run_ids=night.run_ids,
        began=night.began,
        seconds=night.seconds,
        lake=lake.root.rstrip("/").rpartition("/")[2],
        version=__version__,
        made=datetime.now(UTC),
        idle=idle,
    )
