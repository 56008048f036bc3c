"""Events become counts per cell or entity and step, zeros included."""

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import pytest
from town import FIRST, Town

from nightmill.clean.accounting import Counts
from nightmill.commands import clean, land

pytestmark = pytest.mark.usefixtures("spark")
TARGET = "data/town/calls"
DATA_SET = """
title: Calls
source: {{format: csv, path: "${{raw}}/calls/{{day}}/*.csv"}}
contract:
  key: [{entity}, ts]
  time: {{column: ts, every: 1 h, zone: Europe/Berlin, format: "yyyy-MM-dd HH:mm:ss"}}
  columns:
    call: {{type: text}}
    station: {{type: text}}
    x: {{type: float, unit: °}}
    y: {{type: float, unit: °}}
clean: {{max_refused: 90 %, events: {{count: calls, {events}}}}}
"""
GRID = "grid: {entity: cell, x: {column: x, from: 0, to: 1, parts: 2}, y: {column: y, from: 10, to: 13, parts: 3}}"
GRID_DROP = GRID[:-1] + ", outside: drop}"


def _counted(town: Town, lines: list[str], events: str, day: date = FIRST, entity: str = "cell") -> Counts:
    text = DATA_SET.format(events=events, entity=entity)
    (town.folder / "conf/data/town/calls.yaml").write_text(text)
    path = town.raw / "calls" / day.isoformat() / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(["ts,call,station,x,y", *lines]) + "\n")
    for stage, days in ((land, [day]), (clean, [])):
        outcome = stage(town.work(stage.__name__, *days), [TARGET])
        for error in outcome.failures.values():
            raise error
    counts: Counts = outcome.results[TARGET].total()
    assert counts.parsed == len(lines) == counts.accepted + sum(counts.refused.values()) + counts.duplicates
    return counts


def _busy(town: Town, entity: str = "cell") -> dict[tuple[str, int], int]:
    """(cell, UTC hour) -> calls, zeros left out."""
    rows: list[dict[str, Any]] = town.rows("silver", "town/calls")
    return {(row[entity], row["ts"].astimezone(UTC).hour): row["calls"] for row in rows if row["calls"]}


def test_every_cell_and_hour_has_its_number_and_edges_belong_to_one_cell(town: Town) -> None:
    lines = [
        f"{FIRST} 05:00:00,1,s,0,10",
        f"{FIRST} 05:59:59,2,s,0.4999,10.99",
        f"{FIRST} 05:10:00,3,s,0.5,11",
        f"{FIRST} 06:00:00,4,s,1,13",
        f"{FIRST} 06:00:00,5,s,1.0001,13",
        f"{FIRST} 06:00:00,6,s,,12",
    ]
    counts = _counted(town, lines, GRID)
    assert dict(counts.refused) == {"grid": 2}
    rows = town.rows("silver", "town/calls")
    assert Counter(row["cell"] for row in rows) == {f"{x}-{y}": 24 for x in range(2) for y in range(3)}
    assert _busy(town) == {("0-0", 4): 2, ("1-1", 4): 1, ("1-2", 5): 1}
    told = sorted(row["reason"] for row in town.rows("quarantine", "town/calls"))
    assert told == ["the place lies outside the grid: '1.0001, 13.0'", "the place lies outside the grid: '12.0'"]


def test_places_outside_may_be_dropped(town: Town) -> None:
    counts = _counted(town, [f"{FIRST} 05:00:00,1,s,0,10", f"{FIRST} 05:00:00,2,s,9,9"], GRID_DROP)
    assert dict(counts.refused) == {"grid": 1} and _busy(town) == {("0-0", 4): 1}
    assert town.rows("quarantine", "town/calls") == []


@pytest.mark.parametrize("identity, calls, doubled", [("", 3, 1), (", identity: [call]", 2, 2)])
def test_a_doubled_report_is_one_event(town: Town, identity: str, calls: int, doubled: int) -> None:
    lines = [
        f"{FIRST} 05:00:00,1,s,0,10",
        f"{FIRST} 05:00:00,1,s,0,10",
        f"{FIRST} 05:00:00,1,s,0.1,10",
        f"{FIRST} 05:00:00,2,s,0,10",
    ]
    counts = _counted(town, lines, GRID + identity)
    assert counts.duplicates == doubled and _busy(town) == {("0-0", 4): calls}


@pytest.mark.parametrize("day, hours", [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_days_have_as_many_hours_as_the_clock_gives_them(town: Town, day: date, hours: int) -> None:
    _counted(town, [f"{day} 23:30:00,1,s,0,10"], GRID, day)
    rows = town.rows("silver", "town/calls")
    assert Counter(row["cell"] for row in rows)["0-0"] == hours
    assert {row["day"] for row in rows} == {day}
    assert max(row["ts"] for row in rows if row["calls"]) == max(row["ts"] for row in rows)


def test_without_a_grid_each_entity_seen_is_counted_and_near_empty_days_are_no_data(town: Town) -> None:
    lines = [f"{FIRST} 05:00:00,1,north,,", f"{FIRST} 05:00:00,2,south,,", f"{FIRST} 07:00:00,3,north,,"]
    _counted(town, lines, "at_least: 2", entity="station")
    assert _busy(town, "station") == {("north", 4): 1, ("south", 4): 1, ("north", 6): 1}
    assert len(town.rows("silver", "town/calls")) == 48
    later = datetime(2026, 3, 3).date()
    _counted(town, [f"{later} 05:00:00,4,north,,"], "at_least: 2", day=later, entity="station")
    assert {row["day"] for row in town.rows("silver", "town/calls")} == {FIRST}
