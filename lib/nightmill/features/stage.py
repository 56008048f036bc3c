"""The stage `features`: stale days of a use case's gold table are made anew from silver."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from nightmill.config import DataSet, UseCase, digest
from nightmill.errors import DataRefused
from nightmill.features import (
    array,
    calendar,
    categories,
    columns,
    events,
    formula,
    lag,
    neighbours,
    network_mean,
    rolling,
    similar_days,
    spectrum,
    waveform,
)
from nightmill.features.inputs import Inputs
from nightmill.features.target import add_target, extra_names
from nightmill.lake.run import Step
from nightmill.lake.tables import Table
from nightmill.lake.writes import days_condition, partition_by_day, read, replace
from nightmill.spark import Start

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

KINDS: dict[str, ModuleType] = {
    "array": array,
    "columns": columns,
    "calendar": calendar,
    "categories": categories,
    "events": events,
    "formula": formula,
    "lag": lag,
    "neighbours": neighbours,
    "network_mean": network_mean,
    "rolling": rolling,
    "similar_days": similar_days,
    "spectrum": spectrum,
    "waveform": waveform,
}
"""Kind -> its file. Each has add(feature, rows, inputs) -> rows with the columns of `feature.names`."""


@dataclass
class Engineered:
    """What the stage did."""

    use_case: str
    days: int
    rows: int
    features: list[str]
    version: int | None


def engineer(start: Start, step: Step, use_case: UseCase, data_sets: dict[str, DataSet], days: set[date]) -> Engineered:
    """Makes the given days of gold anew, and every day that its inputs changed since gold was last made."""
    data_sets = {name: data_sets[name] for name in use_case.engineered}
    tables = {name: step.lake.table("silver", data_set.name) for name, data_set in data_sets.items()}
    versions = {name: step.read(table) for name, table in tables.items()}
    gold, names = step.lake.table("gold", use_case.name), use_case.feature_names
    stale = _stale(use_case, data_sets, tables, versions, gold)
    wanted = None if stale is None else stale | (days & _days(use_case, tables, versions))
    if wanted is not None and not wanted:
        log.info("%s: gold is up to date", use_case.name)
        return Engineered(use_case.name, 0, 0, names, gold.version())
    step.begin()
    spark = start()
    frames = {name: read(spark, table, versions[name]) for name, table in tables.items()}
    condition = None if wanted is None else days_condition(wanted)
    span = (min(wanted), max(wanted)) if wanted else None
    inputs = Inputs(use_case, data_sets, frames, condition or "true", span)
    rows = inputs.series()
    if use_case.target.remaining_life is not None:
        rows = add_target(use_case, rows, inputs)  # before days are picked: the end of a life lies in later ones
    reach = max((f.reach for f in use_case.features if f.kind != "events"), default=timedelta(0))
    rows = rows.where(inputs.reached(reach))
    for feature in use_case.features:
        rows = KINDS[feature.kind].add(feature, rows, inputs)
    rows = rows.where(inputs.condition)
    if use_case.target.remaining_life is None:
        rows = add_target(use_case, rows, inputs)
    rows = rows.select(
        "entity",
        F.col("ts").cast("timestamp"),
        F.col("day"),
        *[
            F.col(f"`{name}`").cast("binary" if name == use_case.array else "float").alias(name)
            for name in dict.fromkeys([*names, *extra_names(use_case)])
        ],
        F.col("target").cast("float").alias("target"),
    )
    series = next(iter(tables))
    count, many = inputs.size() if use_case.series.every else _size(tables[series], versions[series])
    by_day = partition_by_day(count, many)
    rows = _sorted(rows, count if wanted is None else count * len(wanted) // max(many, 1), by_day)
    note = step.note(recipe=_recipe(use_case, data_sets))
    none_yet = wanted is not None and not gold.may_hold(wanted)
    version = replace(rows, gold, condition, note, step.lease, none_yet=none_yet, partition_by_day=by_day)
    step.wrote(gold, version)
    if wanted is not None:
        _mark_stale(step, use_case, wanted)
    written = _size(gold, version)
    if written[0] == 0:
        raise DataRefused(f"{use_case.name}: gold is empty", where=gold.uri, fix="land and clean some days first")
    return Engineered(use_case.name, many if wanted is None else len(wanted), written[0], names, version)


def _recipe(use_case: UseCase, data_sets: dict[str, DataSet]) -> str:
    """What decides the content of gold beside its inputs' rows."""
    contracts = [data_sets[name].contract for name in sorted(data_sets)]
    inputs = [use_case.inputs[name] for name in data_sets]
    return digest(*contracts, *inputs, use_case.target, *use_case.features)


def _mark_stale(step: Step, use_case: UseCase, days: set[date]) -> None:
    """Predictions issued from earlier rows of these days stay as they are; ops.runs says that they are stale."""
    predictions = step.lake.table("predictions", use_case.name)
    if not predictions.exists():
        return
    issued = sorted({str(d) for d in predictions.days_by_partition()} & {str(d) for d in days})
    if issued:
        step.event("predictions stale", "stale", days=issued)


def _stale(
    use_case: UseCase,
    data_sets: dict[str, DataSet],
    tables: dict[str, Table],
    versions: dict[str, int],
    gold: Table,
) -> set[date] | None:
    """Days of which gold is older than its inputs; None means all."""
    note = gold.note()
    if not note or note.get("recipe") != _recipe(use_case, data_sets):
        return None
    stale: set[date] = set()
    series, there = next(iter(tables)), _days(use_case, tables, versions)
    for name, table in tables.items():
        changed = table.changed_days(note["inputs"].get(table.label), versions[name])
        if changed is None or (changed and name != series and use_case.inputs[name].as_ in ("graph", "static")):
            return None
        if changed and use_case.series.complete:
            return None  # one value more or less may bring in or take out an entity's whole past
        stale |= changed if name == series and not use_case.series.every else changed & there
        back, ahead = _seen(use_case, name)
        if back or ahead:
            stale |= {day for day in there if any(other - back <= day <= other + ahead for other in changed)}
    if stale and use_case.series.every:
        last, event = max(gold.days(), default=date.min), use_case.target.event
        back = _whole_days(event.within if event else timedelta(0))
        stale |= {day for day in there if day + back >= last}  # the last one ended where its inputs did
    if stale and use_case.target.remaining_life is not None:
        return _since_last_end(use_case, data_sets, tables, versions, stale)
    return stale


def _seen(use_case: UseCase, name: str) -> tuple[timedelta, timedelta]:
    """How long before and after it a row of an input is seen by features and the target of others, in whole days."""
    series, event = next(iter(use_case.inputs)), use_case.target.event
    back = event.within if event and name in (series, event.of) else timedelta(0)
    ahead = [f.reach for f in use_case.features if (f.of if f.kind == "events" else series) == name]
    if name == series and use_case.series.every:
        ahead.append(timedelta(days=36500))  # an entity is there from its first record on
    return _whole_days(back), _whole_days(max(ahead, default=timedelta(0)))


def _whole_days(span: timedelta) -> timedelta:
    return timedelta(days=ceil(span / timedelta(days=1)))


def _days(use_case: UseCase, tables: dict[str, Table], versions: dict[str, int]) -> set[date]:
    """Days of which the series has rows."""
    series = next(iter(tables))
    if not use_case.series.every:
        return tables[series].days(versions[series])
    timed = [tables[name].days(versions[name]) for name in tables if use_case.inputs[name].as_ in ("series", "events")]
    first, last = max(min(d, default=date.min) for d in timed), max(max(d, default=date.min) for d in timed)
    return {first + timedelta(days=n) for n in range((last - first).days + 1)}


def _since_last_end(
    use_case: UseCase,
    data_sets: dict[str, DataSet],
    tables: dict[str, Table],
    versions: dict[str, int],
    changed: set[date],
) -> set[date] | None:
    """A failure gives a target to every row since the failure before it, and a day without one to rows a cap before."""
    life = use_case.target.remaining_life
    if life is None or life.until is None:
        return None
    entity_columns = data_sets[life.until].contract.entity
    events = tables[life.until].delta(versions[life.until]).to_pyarrow_table(columns=[*entity_columns, "day"])
    lives: dict[tuple[Any, ...], list[date]] = {}
    for row in events.to_pylist():
        lives.setdefault(tuple(row[n] for n in entity_columns), []).append(row["day"])
    first_changed = min(changed)
    series_name = next(iter(tables))
    days = tables[series_name].days(versions[series_name])
    before = [max((d for d in ends if d < first_changed), default=min(days)) for ends in lives.values()]
    reach = data_sets[series_name].clock.every * life.cap if life.cap else timedelta(0)
    start = min([*before, first_changed - reach - timedelta(days=1)])
    return {d for d in days if d >= start}


def _size(table: Table, version: int) -> tuple[int, int]:
    """Rows and days of a table, from its Delta log and its day column."""
    import pyarrow as pa

    actions = pa.table(table.delta(version).get_add_actions(flatten=True))
    return sum(n or 0 for n in actions["num_records"].to_pylist()), len(table.days(version))


def _sorted(rows: DataFrame, count: int, by_day: bool) -> DataFrame:
    """Files of about a million rows, each sorted by entity and time."""
    files = max(1, round(count / 1_000_000))
    if by_day:
        placed = rows.repartitionByRange(files, "day", "entity")
        return placed.sortWithinPartitions("day", "entity", "ts")
    placed = rows.coalesce(1) if files == 1 else rows.repartitionByRange(files, "entity")
    return placed.sortWithinPartitions("entity", "ts")
