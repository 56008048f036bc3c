"""What rules, filters and steps make of a series, action by action, and rules along time against plain Python."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from town import FIRST, Town

from nightmill.clean.stage import Cleaned
from nightmill.commands import clean, land
from nightmill.errors import DataRefused

pytestmark = pytest.mark.usefixtures("spark")
TARGET = ["data/town/speeds"]
DATA_SET = """
title: Speeds
source: {{format: csv, path: "${{raw}}/speeds/{{day}}/*.csv"}}
contract:
  key: [detector, ts]
  time: {{column: ts, every: 30 min, format: "yyyy-MM-dd HH:mm:ss"}}
  columns: {{{columns}}}
clean: {{max_refused: 90 %, {clean}}}
"""
COLUMNS = 'speed: {type: float, unit: km/h}, flow: {type: int, unit: "1"}, state: {type: text}'
Row = tuple[Any, ...]


def _cleaned(town: Town, rows: list[Row], block: str, columns: str = COLUMNS) -> Cleaned:
    (town.folder / "conf/data/town/speeds.yaml").write_text(DATA_SET.format(clean=block, columns=columns))
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    names = [column.split(":")[0].strip() for column in columns.split("}, ")]
    town.drop(FIRST, lines, header=",".join(["detector", "ts", *names]))
    for stage, days in ((land, (FIRST,)), (clean, ())):
        outcome = stage(town.work(stage.__name__, *days), TARGET)
        for error in outcome.failures.values():
            raise error
    result: Cleaned = outcome.results[TARGET[0]]
    total = result.total()
    assert total.parsed == len(rows) == total.accepted + sum(total.refused.values()) + total.duplicates
    return result


def _series(speeds: list[float | None], every: int = 30, detector: str = "a") -> list[Row]:
    start = datetime(FIRST.year, FIRST.month, FIRST.day)
    return [(detector, start + timedelta(minutes=every * n), speed, n, "ok") for n, speed in enumerate(speeds)]


def _speeds(town: Town) -> list[Any]:
    return [
        row["speed"]
        for row in town.table("silver").sort_by([("detector", "ascending"), ("ts", "ascending")]).to_pylist()
    ]


CASES: dict[str, tuple[str, list[Any], list[Any]]] = {
    "range_clip": ("range: {between: [0, 200], then: clip}", [10, 250, -5], [10, 200, 0]),
    "range_null": ("range: {between: [0, 200], then: 'null'}", [10, 250, None], [10, None, None]),
    "range_drop": ("range: {between: [0, 200], then: drop}", [10, 250, -5], [10]),
    "range_quarantine": ("range: {between: [0, 200]}", [10, 250, -5], [10]),
    "stuck_null": ("stuck: {for: 90 min, then: 'null'}", [1, 1, 1, 1, 2, 2, 2, 3], [None] * 4 + [2, 2, 2, 3]),
    "stuck_quarantine": ("stuck: {for: 90 min}", [1, 1, 1, 1, 2], [2]),
    "stuck_except": ("stuck: {for: 90 min, except: [1]}", [1, 1, 1, 1, 2], [1, 1, 1, 1, 2]),
    "stuck_alone": ("stuck: {for: 30 min, then: 'null'}", [1, None, 1, 2, 2], [1, None, 1, None, None]),
    "spike_null": ("spike: {by: 5, then: 'null'}", [1, 20, 2, 3, None, 9], [1, None, 2, 3, None, 9]),
    "spike_drop": ("spike: {by: 5, then: drop}", [1, 20, 2, 3], [1, 2, 3]),
    "monotone": ("monotone: {}", [10, 20, 3, 30, 90, 31, 32], [10, 20, 30, 31, 32]),
    "monotone_new": ("monotone: {}", [10, 20, 1, 2, 3], [10, 20, 1, 2, 3]),
    "hampel": ("hampel: {window: 5}", [1, 2, 1, 50, 1, 2, None, 1], [1, 2, 1, 2, 1, 2, None, 1]),
    "median": ("median: {window: 3}", [1, 9, 2, 3], [5, 2, 3, 2.5]),
}
"""Each on a column and a detector of its own: rule or filter, given values, values in silver."""


def test_each_rule_and_filter_does_what_its_action_says(town: Town) -> None:
    texts = {name: case[0].replace("{", f"{{of: {name}, ", 1) for name, case in CASES.items()}
    block = "rules: [" + ", ".join(f"{{{text}}}" for name, text in texts.items() if name not in ("hampel", "median"))
    block += f"], filters: [{{{texts['hampel']}}}, {{{texts['median']}}}]"
    columns = ", ".join(f"{name}: {{type: float, unit: km/h}}" for name in CASES)
    start = datetime(FIRST.year, FIRST.month, FIRST.day)
    rows = [
        (name, start + timedelta(minutes=30 * n), *(value if name == other else None for other in CASES))
        for name, (_, given, _) in CASES.items()
        for n, value in enumerate(given)
    ]
    total = _cleaned(town, rows, block, columns).total()
    silver = town.table("silver").sort_by("ts").to_pylist()
    kept = {name: [row[name] for row in silver if row["detector"] == name] for name in CASES}
    assert kept == {name: case[2] for name, case in CASES.items()}
    assert dict(total.changed) == {
        "range_clip range": 2,
        "range_null range": 1,
        "stuck_null stuck": 4,
        "stuck_alone stuck": 2,
        "spike_null spike": 1,
        "hampel hampel": 1,
        "median median": 4,
    }
    assert dict(total.refused) == {"range": 4, "stuck": 4, "spike": 1, "monotone": 2}
    found = sorted((row["rule"], row["reason"]) for row in town.rows("quarantine"))
    assert [rule for rule, _ in found] == ["monotone"] * 2 + ["range"] * 2 + ["stuck"] * 4, (
        "what was dropped is nowhere"
    )
    assert found[0] == ("monotone", "monotone falls: '3.0'")
    assert found[2] == ("range", "range_quarantine is outside 0 … 200: '-5'")
    assert found[4] == ("stuck", "stuck_quarantine does not change for too long: '1.0'")


def test_a_later_rule_sees_what_the_ones_before_it_made(town: Town) -> None:
    block = "rules: [{range: {of: speed, between: [0, 99], then: 'null'}}, {relation: {that: speed < 50}}]"
    total = _cleaned(town, _series([10, 250, 70, 20]), block).total()
    assert _speeds(town) == [10, None, 20]
    assert (dict(total.changed), dict(total.refused)) == ({"speed range": 1}, {"relation": 1})


def test_texts_and_sets_are_checked_whole(town: Town) -> None:
    block = "rules: [{one_of: {of: state, values: [ok, shut]}}, {matches: {of: detector, pattern: 'D[0-9]+'}}]"
    start = datetime(FIRST.year, FIRST.month, FIRST.day)
    rows: list[Row] = [
        ("D1", start, 1, 1, "ok"),
        ("D1x", start, 1, 1, "ok"),
        ("D2", start, 1, 1, "okay"),
        ("D3", start, 1, 1, None),
    ]
    total = _cleaned(town, rows, block).total()
    assert dict(total.refused) == {"one_of": 1, "matches": 1}
    reasons = {row["reason"] for row in town.rows("quarantine")}
    assert reasons == {"state is none of the allowed texts: 'okay'", "detector does not match D[0-9]+: 'D1x'"}


def test_a_rule_that_fails_refuses_the_day_whatever_the_share(town: Town) -> None:
    with pytest.raises(DataRefused, match="a rule of the contract fails the day"):
        _cleaned(town, _series([1] * 40 + [999]), "rules: [{range: {of: speed, between: [0, 200], then: fail}}]")
    assert [row["rule"] for row in town.rows("quarantine")] == ["range"]


def test_several_records_of_a_step_become_one_row(town: Town) -> None:
    block = "resample: {speed: mean, flow: sum, state: first}"
    _cleaned(town, _series([1, 2, 6, 10], every=10), block)
    rows = town.table("silver").sort_by("ts").to_pylist()
    assert [(row["speed"], row["flow"], row["_merged"]) for row in rows] == [(3.0, 3, 3), (10.0, 3, 1)]


def test_rules_along_time_agree_with_plain_python_on_random_series(town: Town) -> None:
    """300 series with repeats, missing values, jumps, falls and uneven times; what is refused is no neighbour."""
    dice, rows = random.Random(4), []
    start = datetime(FIRST.year, FIRST.month, FIRST.day)
    for number in range(300):
        minute, value = 0, 10.0
        for _ in range(dice.randint(1, 40)):
            value = dice.choice([value, value, value + dice.randint(-3, 6), value + 40, value - 40])
            state = "bad" if dice.random() < 0.05 else "ok"
            speed = None if dice.random() < 0.05 else value
            rows.append((f"d{number}", start + timedelta(minutes=minute), speed, int(value), state))
            minute += dice.choice([5, 10, 30, 45, 70])
            if minute >= 24 * 60:
                break
    block = (
        "rules: [{one_of: {of: state, values: [ok]}}, {stuck: {of: speed, for: 1 h, then: 'null'}}, "
        "{spike: {of: speed, by: 30}}, {monotone: {of: flow, then: 'null'}}]"
    )
    total = _cleaned(town, rows, block).total()
    expected, spikes, bad = [], 0, 0
    for number in range(300):
        whole = [row for row in rows if row[0] == f"d{number}"]
        series = [row for row in whole if row[4] == "ok"]
        bad += len(whole) - len(series)
        for place, row in enumerate(series):
            if _spike([r[2] for r in series], place, 30):
                spikes += 1
                continue
            speed = None if _stuck(series, place, timedelta(hours=1)) else row[2]
            flow = None if _falls([r[3] for r in series], place) else row[3]
            expected.append((row[0], row[1], speed, flow))
    found = [(r["detector"], r["ts"].replace(tzinfo=None), r["speed"], r["flow"]) for r in town.rows("silver")]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert dict(total.refused) == {"one_of": bad, "spike": spikes} and min(bad, spikes) > 50
    assert min(total.changed.values()) > 50


def _stuck(series: list[Any], place: int, lasting: timedelta) -> bool:
    value = series[place][2]
    first = last = place

    def goes_on(one: int, other: int) -> bool:
        return bool(series[other][2] == value and series[max(one, other)][1] - series[min(one, other)][1] < lasting)

    while value is not None and first > 0 and goes_on(first, first - 1):
        first -= 1
    while value is not None and last + 1 < len(series) and goes_on(last, last + 1):
        last += 1
    return value is not None and series[last][1] - series[first][1] >= lasting


def _around(values: list[Any], place: int) -> tuple[Any, Any]:
    return (values[place - 1] if place else None), (values[place + 1] if place + 1 < len(values) else None)


def _spike(values: list[Any], place: int, by: float) -> bool:
    (before, after), value = _around(values, place), values[place]
    if None in (before, after, value):
        return False
    return bool((value - before > by and value - after > by) or (before - value > by and after - value > by))


def _falls(values: list[Any], place: int) -> bool:
    (before, after), value = _around(values, place), values[place]
    if None in (before, after):
        return False
    return bool(value < before <= after or value > after >= before)
