"""What a night did, out of ops.runs and ops.alarms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from nightmill.lake.ops import events
from nightmill.lake.tables import Lake
from nightmill.report.told import Alarm, Ran, State

STAGES = ("land", "clean", "features", "train", "evaluate", "score", "monitor", "report")
"""In the order in which a night takes them."""
_STATES: dict[str, State] = {"done": "done", "refused": "failed", "failed": "failed", "killed": "killed"}
Row = Mapping[str, Any]


@dataclass
class Told:
    """What ops tells of a night's runs."""

    steps: list[Ran] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    began: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None


def night_of(lake: Lake, day: date) -> Told:
    """The steps of all runs of a day's night; a later run of it says what the first left out."""
    rows = events(lake, "runs")
    nights = [row for row in rows if row["step"] == "nightly" and row["event"] == f"night {day}"]
    found: dict[tuple[str, str], Ran] = {}
    for row in nights:
        for line in json.loads(row["detail"])["lines"]:
            _keep(found, Ran(**line))
    by_hand = _by_hand(rows, day, {row["run_id"] for row in nights})
    for steps in by_hand.values():
        for ran in steps:
            _keep(found, ran)
    runs = [row["run_id"] for row in nights] + list(by_hand)
    mine = [row for row in rows if row["run_id"] in set(runs)]
    order = {name: place for place, name in enumerate(STAGES)}
    return Told(
        sorted(
            found.values(), key=lambda ran: (ran.subject.count("data/") == 0, ran.subject, order.get(ran.stage, 99))
        ),
        runs,
        min((row["at"] for row in mine), default=None),
        max((row["at"] for row in mine), default=None),
        sum(json.loads(row["detail"])["seconds"] for row in nights) if nights else None,
    )


def alarms_of(lake: Lake, day: date) -> list[Alarm]:
    """The alarms as the night left them: new ones first, those that ended last."""
    last: dict[tuple[str, str, str], Alarm] = {}
    for row in events(lake, "alarms", day=day):
        name = (row["subject"], row["kind"], row["slice"] or "")
        before = last.get(name)
        # a night that is run again only says that its alarm stays
        state = "raised" if before and before.state == "raised" and row["state"] == "stays" else row["state"]
        last[name] = Alarm(*name, state, row["what"] or "", row["value"], row["limit"], row["since"])
    order = {"raised": 0, "stays": 1, "cleared": 2}
    return sorted(last.values(), key=lambda a: (order.get(a.state, 3), _weight(a), a.subject, a.kind, a.slice))


def _weight(alarm: Alarm) -> float:
    """Alarms furthest beyond their limit first."""
    return -alarm.value / alarm.limit if alarm.limit > 0 else 0.0


def _by_hand(rows: Iterable[Row], day: date, told: set[str]) -> dict[str, list[Ran]]:
    """Run -> its steps, of runs whose last day is this one and that no night tells of: by hand, or killed."""
    last: dict[str, date] = {}
    starts: dict[tuple[str, str, str], Row] = {}
    ends: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        if row["run_id"] in told:
            continue
        key = (row["run_id"], row["step"], row["subject"])
        if row["event"] == "started":
            starts[key] = row
            for text in json.loads(row["detail"] or "{}").get("days", []):
                one = date.fromisoformat(text)
                last[row["run_id"]] = max(one, last.get(row["run_id"], one))
        elif row["event"] == "ended":
            ends[key] = row
    found: dict[str, list[Ran]] = {}
    for key, start in starts.items():
        if last.get(key[0]) == day and key[1] != "nightly":
            found.setdefault(key[0], []).append(_ran(start, ends.get(key)))
    return found


def _ran(start: Row, end: Row | None) -> Ran:
    stage, subject = start["step"], start["subject"]
    if end is None:
        return Ran(stage, subject, "killed", "it never ended")
    state = _STATES.get(end["status"], "failed")
    detail = json.loads(end["detail"] or "{}")
    lines = str(detail.get("what", "")).splitlines()
    fix = next((line.strip().removeprefix("fix:").strip() for line in lines if line.strip().startswith("fix:")), "")
    seconds = 0.0 if state == "killed" else (end["at"] - start["at"]).total_seconds()
    what = lines[0] if lines else ("it was killed; the next run took it up" if state == "killed" else "")
    return Ran(stage, subject, state, what, fix, seconds)


def _keep(found: dict[tuple[str, str], Ran], ran: Ran) -> None:
    """A step that had nothing to do the second time was done the first."""
    before = found.get((ran.stage, ran.subject))
    if before is None or ran.state != "nothing" or before.state != "done":
        found[ran.stage, ran.subject] = ran
