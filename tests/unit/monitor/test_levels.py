"""Entities beyond what is allowed are alarms of their own."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from town import Town, found

from nightmill.config import UseCase
from nightmill.lake.tables import Table
from nightmill.monitor import levels
from nightmill.monitor.alarms import judge
from nightmill.monitor.levels import level_figures

NIGHT = date(2026, 3, 2)


@pytest.fixture
def predictions(tmp_path: Path) -> Table:
    """Of the night: a 30 and 9, b 5, c 50, d none."""
    (tmp_path / "town").mkdir()
    table = found(tmp_path / "town").work("land").lake.table("predictions", "town/speeds")
    rows = [("a", 30.0), ("a", 9.0), ("b", 5.0), ("c", 50.0), ("d", float("nan"))]
    at = datetime(2026, 3, 2, tzinfo=UTC)
    data = pa.table({"day": [NIGHT] * 5, "ts": [at] * 5, "entity": [e for e, _ in rows], "value": [v for _, v in rows]})
    write_deltalake(table.uri, data, partition_by=["day"])
    return table


def _figures(table: Table, tmp_path: Path, *sets: str) -> dict[str, tuple[float, str]]:
    use_case = _use_case(tmp_path, *sets)
    return {f.slice: (f.value, f.what) for f in level_figures(use_case, table, NIGHT)}


def _use_case(tmp_path: Path, *sets: str) -> UseCase:
    """The use case with other limits."""
    return Town(tmp_path / "town").configuration(*sets).use_case("town/speeds")


def test_each_entity_tells_how_far_beyond_it_lies(predictions: Table, tmp_path: Path) -> None:
    assert _figures(predictions, tmp_path) == {}
    assert _figures(predictions, tmp_path, "monitor.below=10", "monitor.above=40") == {
        "entity=a": (1.1, "speed of a is 9, below 10"),
        "entity=b": (1.5, "speed of b is 5, below 10"),
        "entity=c": (1.25, "speed of c is 50, above 40"),
        "": (0, "speed of 0 more entities is beyond its limits, as of "),
    }
    assert _figures(predictions, tmp_path, "monitor.below=8")["entity=a"] == (0.875, "speed of a is 9")


def test_beyond_the_worst_the_others_are_one_alarm(
    predictions: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "NAMED", 1)
    figures = _figures(predictions, tmp_path, "monitor.below=10")
    assert figures["entity=b"][0] == 1.5 and "entity=a" not in figures
    assert figures[""] == (1, "speed of 1 more entities is beyond its limits, as of a")


def test_an_entity_that_joins_is_a_new_alarm_and_one_that_recovers_ends_its_own(
    predictions: Table, tmp_path: Path
) -> None:
    both = level_figures(_use_case(tmp_path, "monitor.below=10"), predictions, NIGHT)
    first = {a.figure.name: a for a in judge(both, {}, NIGHT)}
    assert {name[2] for name in first} == {"entity=a", "entity=b"}
    for limit, states in (("8", {"entity=a": "stays", "entity=b": "stays"}), ("7", {"entity=a": "cleared"})):
        figures = level_figures(_use_case(tmp_path, f"monitor.below={limit}"), predictions, NIGHT)
        second = {a.figure.slice: a.state for a in judge(figures, first, date(2026, 3, 3))}
        assert states.items() <= second.items(), "by a fifth of the limit within it"
