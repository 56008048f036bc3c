"""How a use case stands: its models and why they are what they are, its last steps, its predictions, its alarms."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from nightmill.config import UseCase
from nightmill.errors import NightmillError
from nightmill.lake.live import LIVE
from nightmill.lake.ops import events
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.monitor.alarms import open_alarms


@dataclass
class Ran:
    """The last time that a step did something."""

    step: str
    at: datetime
    status: str
    """done, refused, failed, killed, or running."""
    run: str
    what: str = ""
    """Why it was refused or failed."""


@dataclass
class Standing:
    """What is known of one use case."""

    use_case: str
    title: str
    champion: int | None = None
    since: datetime | None = None
    """When the champion was promoted."""
    why: str = ""
    """Why it was promoted."""
    candidate: int | None = None
    registry: str = ""
    """Why nothing is known of models; empty where something is."""
    steps: list[Ran] = field(default_factory=list)
    last_day: date | None = None
    """Last day with predictions."""
    tested: dict[str, float] = field(default_factory=dict)
    """Contestant and metric -> value of the last evaluation, over all steps."""
    live: dict[date, float] = field(default_factory=dict)
    """Mean absolute error of past predictions, by day."""
    alarms: list[str] = field(default_factory=list)


def standing(lake: Lake, registry: Registry, use_case: UseCase) -> Standing:
    """Reads ops, the registry and the predictions' log; no data."""
    name = use_case.name
    found = Standing(name, use_case.title)
    try:
        found.champion, found.candidate = registry.champion(name), registry.candidate(name)
    except NightmillError as error:
        found.registry = error.what
    for row in events(lake, "promotions", subject=name):
        if row["model_version"] == found.champion:
            found.since, found.why = row["at"], row["reason"]
    found.steps = _steps(events(lake, "runs", subject=name))
    predictions = lake.table("predictions", name)
    if predictions.exists():
        found.last_day = max(predictions.days_by_partition(), default=None)
    for row in events(lake, "metrics", subject=name):
        if row["step"] == "evaluate" and row["horizon"] is None:
            found.tested[f"{row['of']} {row['metric']}"] = row["value"]
        if row["of"] == LIVE and row["metric"] == "mae" and row["horizon"] is None and not row["slice"]:
            found.live[row["day"]] = row["value"]
    for alarm in open_alarms(events(lake, "alarms", subject=name)).values():
        part = f" ({alarm.figure.slice})" if alarm.figure.slice else ""
        found.alarms.append(f"{alarm.figure.kind}{part} since {alarm.since}: {alarm.figure.what}")
    return found


def _steps(told: list[dict[str, Any]]) -> list[Ran]:
    last: dict[str, Ran] = {}
    for row in told:
        if row["event"] == "started":
            last[row["step"]] = Ran(row["step"], row["at"], "running", row["run_id"])
        elif row["event"] == "ended":
            detail = json.loads(row["detail"] or "{}")
            last[row["step"]] = Ran(row["step"], row["at"], row["status"], row["run_id"], str(detail.get("what", "")))
    return sorted(last.values(), key=lambda ran: ran.at)
