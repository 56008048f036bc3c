"""The stage `score`: the champion's predictions for a day, written in slices, committed once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from nightmill.clock import Clock
from nightmill.config import Time, UseCase
from nightmill.errors import DataRefused, NightmillError, WorkFailed
from nightmill.handoff import Pinned, Samples, build_index, pin
from nightmill.lake.ops import events
from nightmill.lake.registry import Registry
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake, Table
from nightmill.models.bundle import DESCRIPTION, Bundle
from nightmill.score.marks import Marks
from nightmill.score.origins import Rest, find_origins
from nightmill.score.slices import cut_slices
from nightmill.score.table import replace_day, sweep
from nightmill.score.task import Assignment, score_slices
from nightmill.score.writer import Facts, Part
from nightmill.spark import Start

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

REST = 200_000
"""Origins of a slice at most that the model cannot predict."""


@dataclass
class Scored:
    """What was predicted."""

    use_case: str
    day: date
    rows: int
    fallbacks: int
    """Rows by the naive rule, where the model could not predict."""
    missing: int
    """Origins of which nothing is predicted, where the use case or the model has no such rule."""
    entities: int
    model_version: int
    hindsight: bool
    version: int


def score(start: Start, step: Step, use_case: UseCase, time: Time, registry: Registry, day: date | None) -> Scored:
    """Predicts for one local day (the last one of gold without it) and replaces exactly that day.

    Raises WorkFailed where there is no champion, DataRefused where gold has no row of that day.
    """
    gold_table = step.lake.table("gold", use_case.name)
    gold_version = step.read(gold_table)
    champion = champion_of(step.lake, use_case, registry, time, day)
    stored = registry.stored(use_case.name, champion)
    bundle = Bundle.described(stored.read(DESCRIPTION, registry.storage_options), stored.of)
    if changed := _changed(use_case, bundle):
        log.warning(
            "%s: %s changed since model %d was trained, which keeps what it was trained with: train again",
            use_case.name,
            " and ".join(changed),
            champion,
        )
    day = day or max(gold_table.days(gold_version), default=None)
    if day is None:
        raise DataRefused(f"{use_case.name}: gold is empty", where=gold_table.uri, fix="run `nightmill features` first")
    begin, end = _bounds(day, time)
    reach = round((bundle.shape.lookback - 1) * time.every.total_seconds() * 1_000_000)
    clock = Clock.of(time.every, time.zone)
    gold = _pinned(gold_table, gold_version, int(clock.real(clock.even(begin) - reach)), end)
    index = build_index(gold, time.every, time.zone) if gold.files else None
    last_only, by_name = use_case.score.origins == "last", use_case.evaluate.split.entity is None
    origins = (
        find_origins(index, bundle, tuple(clock.even([begin, end]).tolist()), last_only, by_name) if index else None
    )
    where = f"{gold_table.label} version {gold_version}"
    if index is None or origins is None:
        fix = "land, clean and engineer that day first, or name another --day"
        raise DataRefused(f"{use_case.name}: no entity has a row on {day}", where=where, fix=fix)
    samples, rest, missing = origins.samples, origins.rest, 0
    if bundle.fallback is None or use_case.fallback is None:
        rest, missing = rest.take(slice(0)), rest.total
    if not samples.count and not rest.total:
        raise DataRefused(
            f"{use_case.name}: no entity has the {bundle.shape.lookback} rows that the model needs on {day}",
            where=where,
            fix="land, clean and engineer the days before, too, or name another --day",
        )
    step.begin()
    scored_at = datetime.now(UTC)
    hindsight = int(bundle.gold.get("until", 0)) >= end  # it has seen what came after the day
    predictions = step.lake.table("predictions", use_case.name)
    assignment = Assignment(
        gold=gold,
        index=index,
        names=origins.names,
        codes=bundle.codes(origins.names),
        model=stored,
        table_uri=predictions.uri,
        day=day,
        facts=Facts(bundle.target, champion, gold.version, step.run_id, scored_at, hindsight),
        marks=Marks.of(bundle.shape, use_case.monitor, bundle.threshold),
    )
    spark = start()
    todo: list[Samples | Rest] = [
        *cut_slices(samples, index, bundle.shape.row_bytes, spark.sparkContext.defaultParallelism)
    ]
    todo += rest.cut(REST)
    parts = _distribute(spark, assignment, todo)
    note = step.note(model_version=champion, scored_at=scored_at, day=day)
    version = replace_day(predictions, day, parts, note, step.lease)
    step.wrote(predictions, version)
    if lost := sweep(predictions, step.run_id):
        log.info("%s: %d files of attempts that came to nothing are removed", use_case.name, len(lost))
    if missing:
        log.warning("%s: nothing is predicted from %d origins of %s: there is no fallback", use_case.name, missing, day)
    return Scored(
        use_case=use_case.name,
        day=day,
        rows=sum(part.rows for part in parts),
        fallbacks=rest.total * bundle.shape.steps,
        missing=missing,
        entities=len(np.union1d(index.runs.entity[samples.run], rest.entity)),
        model_version=champion,
        hindsight=hindsight,
        version=version,
    )


def _distribute(spark: SparkSession, assignment: Assignment, todo: list[Samples | Rest]) -> list[Part]:
    context = spark.sparkContext
    shared = context.broadcast(assignment)

    def task(items: Iterable[tuple[int, Samples | Rest]]) -> Iterable[Part | NightmillError]:
        return score_slices(shared.value, items)

    try:
        found = context.parallelize(list(enumerate(todo)), len(todo)).mapPartitions(task).collect()
    finally:
        shared.destroy()
    parts = list[Part]()
    for part in found:
        if isinstance(part, NightmillError):
            raise part
        parts.append(part)
    return parts


def champion_of(lake: Lake, use_case: UseCase, registry: Registry, time: Time, day: date | None) -> int:
    """The champion of that day's night as ops.promotions tells it; where none is told, today's champion.

    A promotion by a night holds from that night on, whenever it ran; one by hand from the time when it was made.
    """
    current = registry.champion(use_case.name)
    if current is None:
        raise WorkFailed(
            f"{use_case.name} has no champion model",
            where="model registry",
            fix="run `nightmill train` and `nightmill evaluate` first",
        )
    if day is None:
        return current
    end = datetime.combine(day + timedelta(days=2), clock(), ZoneInfo(time.zone))
    told = events(lake, "promotions", subject=use_case.name)
    earlier = [row for row in told if (row["night"] <= day if row.get("night") else row["at"] < end)]
    return int(earlier[-1]["model_version"]) if earlier else current


def _changed(use_case: UseCase, bundle: Bundle) -> list[str]:
    """Options that a model keeps from its training and that are others by now; a fallback that is left out is not."""
    then, now = bundle.training.get("use_case", {}), use_case.model_dump(mode="json", by_alias=True)
    found = [name for name in ("target", "features", "model") if name in then and then[name] != now[name]]
    if then and then["score"]["interval"] != now["score"]["interval"]:
        found.append("score.interval")
    if bundle.fallback is not None and use_case.fallback not in (None, bundle.fallback.name):
        found.append("score.fallback")
    return found


def _bounds(day: date, time: Time) -> tuple[int, int]:
    """First microsecond of a local day and of the next, UTC; days of a clock change are 23 or 25 hours."""
    zone = ZoneInfo(time.zone)
    moments = [datetime.combine(d, clock(), zone) for d in (day, day + timedelta(days=1))]
    return round(moments[0].timestamp() * 1_000_000), round(moments[1].timestamp() * 1_000_000)


def _pinned(table: Table, version: int, since: int, until: int) -> Pinned:
    """The files of the version that hold rows of [since, until), by the table's statistics."""
    options = table.lake.storage_options or None
    actions = pa.table(table.delta(version).get_add_actions(flatten=True))
    low, high = (actions.column(f"{edge}.ts").to_pylist() for edge in ("min", "max"))
    paths = actions.column("path").to_pylist()
    wanted = {
        path
        for path, first, last in zip(paths, low, high, strict=True)
        # statistics are cut to milliseconds
        if first is None or (_micros(first) < until and _micros(last) + 1000 >= since)
    }
    gold = pin(table.uri, version, options)
    return replace(gold, files=tuple(file for file in gold.files if file.path in wanted))


def _micros(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)
