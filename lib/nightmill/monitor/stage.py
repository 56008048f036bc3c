"""The stage `monitor`: what the night's tables say of data and predictions, as figures and as alarms."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from nightmill.config import DataSet, UseCase
from nightmill.errors import NightmillError
from nightmill.lake.ops import events
from nightmill.lake.registry import Registry
from nightmill.lake.run import Step
from nightmill.monitor.alarms import Alarm, Figure, in_words, judge, open_alarms
from nightmill.monitor.data import watch_data
from nightmill.monitor.predictions import stale_days, watch_predictions

log = logging.getLogger(__name__)


@dataclass
class Monitored:
    """What a night's monitoring said of one data set or use case."""

    subject: str
    night: date
    days: list[date] = field(default_factory=list)
    """Days whose predictions were held against truth."""
    figures: list[Figure] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    """Those that are up, and those that ended this night."""
    news: list[Alarm] = field(default_factory=list)
    """Those that began or ended, as no monitoring of this night has told before."""


def monitor_data(step: Step, data_set: DataSet, night: date, more: list[Figure]) -> Monitored:
    """Freshness, completeness and refusals of a data set; `more` are figures of the night itself."""
    return _judged(step, Monitored(step.subject, night, [], [*watch_data(step.lake, data_set, night), *more]))


def monitor_predictions(
    step: Step,
    use_case: UseCase,
    data_sets: dict[str, DataSet],
    registry: Registry,
    night: date,
    lookback: timedelta,
    more: list[Figure],
) -> Monitored:
    """Live error, intervals and drift of a use case; `more` are figures of the night itself, as a stage that failed."""
    time = data_sets[next(iter(use_case.inputs))].clock
    days = stale_days(step.lake, use_case, time, night, lookback)
    result = Monitored(use_case.name, night, days, list(more))
    predictions = step.lake.table("predictions", use_case.name)
    if predictions.exists():
        watch = watch_predictions(step.lake, use_case, data_sets, _deciles(registry, use_case), days, night)
        result.figures += watch.figures
        if watch.metrics or days:  # told of also where no truth has come yet: these days are looked at once
            step.begin()
            step.read(step.lake.table("gold", use_case.name))
            step.read(predictions)
            step.metric(watch.metrics)
    return _judged(step, result)


def _judged(step: Step, result: Monitored) -> Monitored:
    """Adds what the figures make of the alarms; ops.alarms gets what changed and what is up, once a night."""
    told = events(step.lake, "alarms", subject=result.subject)
    before = open_alarms(row for row in told if row["day"] < result.night)
    result.alarms = judge(result.figures, before, result.night)
    judged = {alarm.figure.name for alarm in result.alarms} | {figure.name for figure in result.figures}
    tonight = open_alarms(row for row in told if row["day"] <= result.night)  # a second run of it measures less
    result.alarms += [replace(up, state="raised") for name, up in tonight.items() if name not in judged]
    alarmed = {alarm.figure.name for alarm in result.alarms}
    result.figures = [f for f in result.figures if f.kind != "level" or f.name in alarmed]  # one per entity: too many
    known = {_told(row) for row in told if row["day"] == result.night}
    rows = {alarm.figure.name: _row(alarm, result.night) for alarm in result.alarms}
    new = [row for row in rows.values() if _told(row) not in known]
    if new:
        step.begin()
        step.alarms(new)
    states = {name[:3] for name in known}
    result.news = [
        alarm
        for alarm in result.alarms
        if alarm.state != "stays" and (alarm.figure.kind, alarm.figure.slice, alarm.state) not in states
    ]
    for alarm in result.news:
        log.warning("%s: %s", "over" if alarm.state == "cleared" else "alarm", in_words(rows[alarm.figure.name]))
    return result


def _told(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("kind", "slice", "state", "calm", "value"))


def _row(alarm: Alarm, night: date) -> dict[str, object]:
    figure = alarm.figure
    return {
        "subject": figure.subject,
        "kind": figure.kind,
        "slice": figure.slice,
        "state": alarm.state,
        "value": float(figure.value),
        "limit": float(figure.limit),
        "what": figure.what,
        "since": alarm.since,
        "calm": alarm.calm,
        "day": night,
    }


def _deciles(registry: Registry, use_case: UseCase) -> list[float]:
    try:
        version = registry.champion(use_case.name)
        files = registry.load(use_case.name, version) if version is not None else {}
    except NightmillError:  # scoring says what is wrong with it
        return []
    return [float(v) for v in json.loads(files["model.json"]).get("deciles", [])] if files else []
