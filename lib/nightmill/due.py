"""What a night has to do for a day: told by the tables and the registry alone, without Spark."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from nightmill.config import DataSet, Time, UseCase
from nightmill.errors import NightmillError
from nightmill.ingest.drop import days_of_drops, names_of_drops
from nightmill.lake.ops import events
from nightmill.lake.quarantine import held_days
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake, Table

PERIODS = {"nightly": 1, "weekly": 7, "monthly": 30}
"""Days of new data after which a use case is trained again."""
OF_MODELS = ("error", "drift")
"""Alarms that a new model may end."""


def drops(lake: Lake, data_set: DataSet, raw: str, night: date, lookback: timedelta) -> list[date]:
    """Days whose drops are looked at, oldest first: the night's, late and corrected ones, and nights that were missed.

    Before anything has landed these are all that lie there.
    """
    if not data_set.source.by_day:
        return [night]
    first = night - lookback
    landed = _last_day(lake.table("bronze", data_set.name))
    if data_set.source.is_pulled:
        first = first if landed is None else min(first, landed + timedelta(days=1))
        return [first + timedelta(days=n) for n in range((night - first).days + 1)]
    there = {day for day in days_of_drops(data_set, raw) if day <= night}
    if landed is not None:
        there = {day for day in there if day >= first or day > landed}
    return sorted(there | {night})


def never_dropped(lake: Lake, data_set: DataSet, raw: str) -> bool:
    """Whether nothing of a data set has ever come: it is configured, and not in use here."""
    if data_set.source.is_pulled or lake.table("bronze", data_set.name).exists():
        return False
    return not names_of_drops(data_set, raw)


def is_missing(data_set: DataSet, raw: str, night: date) -> bool:
    """Whether a data set has a drop a day and none for the night's."""
    source = data_set.source
    return source.by_day and not source.is_pulled and night not in days_of_drops(data_set, raw)


def refused_whole(lake: Lake, data_set: DataSet, night: date) -> tuple[str, str] | None:
    """A file of the night's drop and why it was refused, where no file of that drop could be read."""
    held = held_days(lake, data_set.name).get(night, []) if data_set.source.by_day else []
    bronze = lake.table("bronze", data_set.name)
    if not held or (bronze.exists() and night in bronze.days()):
        return None
    return held[0]


def training(lake: Lake, use_case: UseCase, time: Time, registry: Registry, night: date) -> str:
    """Why a new model is due; empty where none is.

    It is due where there is none, where the champion cannot be read, as often as `train.due` says, and when an alarm
    about the use case's error or drift was raised after the last training.
    """
    candidate, champion = registry.candidate(use_case.name), registry.champion(use_case.name)
    if candidate is None:
        return "it has no model yet"
    if champion is not None:
        try:
            registry.load(use_case.name, champion)
        except NightmillError as error:
            return f"its champion cannot be used: {error.what}"
    try:
        trained = _trained_on(registry, use_case, candidate, time)
    except NightmillError as error:
        return f"its candidate cannot be used: {error.what}"
    if trained is None or (night - trained).days >= PERIODS[use_case.train.due]:
        return f"it is trained {use_case.train.due}, the last time with data up to {trained or 'an unknown day'}"
    for row in events(lake, "alarms", subject=use_case.name, state="raised"):
        if row["kind"] in OF_MODELS and trained < row["since"] < night:
            return f"the night of {row['since']} raised an alarm: {row['kind']}: {row['what']}"
    return ""


def knows_all(lake: Lake, name: str, registry: Registry) -> bool:
    """Whether a use case's candidate was trained on the newest gold, and is there to be used."""
    candidate = registry.candidate(name)
    if candidate is None:
        return False
    try:
        for version in {candidate, registry.champion(name) or candidate}:
            description = json.loads(registry.load(name, version)["model.json"])
    except NightmillError:
        return False
    return bool(description["gold"]["version"] == lake.table("gold", name).version())


def to_judge(lake: Lake, use_case: UseCase, registry: Registry) -> bool:
    """Whether there is a candidate that no evaluation has looked at."""
    candidate = registry.candidate(use_case.name)
    if candidate is None or candidate == registry.champion(use_case.name):
        return False
    return not events(lake, "metrics", subject=use_case.name, step="evaluate", of="candidate", model_version=candidate)


def unscored(lake: Lake, use_case: UseCase, night: date, lookback: timedelta) -> list[date]:
    """Days of gold without predictions, oldest first; before the first predictions only the last one.

    Earlier days within the lookback, and those after the last day with predictions, count; later ones than the night's
    do not.
    """
    gold, predictions = lake.table("gold", use_case.name), lake.table("predictions", use_case.name)
    if not gold.exists():
        return []
    days = {day for day in gold.days() if day <= night}
    scored = predictions.days_by_partition() if predictions.exists() else set()
    if not scored:
        return [max(days)] if days else []
    first = min(max(scored) + timedelta(days=1), night - lookback)
    return sorted(day for day in days - scored if day >= first and day > min(scored))


def _last_day(bronze: Table) -> date | None:
    """Last drop day of a bronze table, by its partitions or statistics."""
    if not bronze.exists():
        return None
    actions = pa.table(bronze.delta().get_add_actions(flatten=True))
    name = "partition.day" if "partition.day" in actions.column_names else "max.day"
    days = [day for day in actions[name].to_pylist() if day is not None] if name in actions.column_names else []
    return max(days, default=None)


def _trained_on(registry: Registry, use_case: UseCase, version: int, time: Time) -> date | None:
    """Local day of the last row of the table that a model was trained on; None where an older version did not say."""
    last = json.loads(registry.load(use_case.name, version)["model.json"])["gold"].get("last")
    return (
        None if last is None else datetime.fromtimestamp(last / 1_000_000, UTC).astimezone(ZoneInfo(time.zone)).date()
    )
