"""What ops tells of a data set's drops: late, short, refused."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from town import FIRST, Town, found

from nightmill.lake.lease import Lease
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake
from nightmill.monitor.data import watch_data

SUBJECT = "data/town/speeds"


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Four usual days of 100 records, cleaned in one run each."""
    town = found(tmp_path)
    for n in range(4):
        _cleaned(town, FIRST + timedelta(days=n), accepted=100)
    return town


def _lake(town: Town) -> Lake:
    return town.work("land").lake


def _cleaned(town: Town, day: date, accepted: int, refused: int = 0, run: str = "") -> None:
    lake = _lake(town)
    step = Step(lake, run or f"run-{day}", "clean", SUBJECT, Lease(lake, SUBJECT, "run", timedelta(minutes=1)))
    base = {"day": day, "file": "a.csv"}
    step.records(
        [base | {"fate": "parsed", "rule": "", "records": accepted + refused}]
        + [base | {"fate": "accepted", "rule": "", "records": accepted}]
        + ([base | {"fate": "refused", "rule": "between", "records": refused}] if refused else [])
    )


def _alarms(town: Town, night: date, *sets: str) -> dict[str, str]:
    figures = watch_data(_lake(town), town.configuration(*sets).data_set(SUBJECT), night)
    return {f.kind: f.what for f in figures if f.value > f.limit}


def test_a_usual_day_is_no_alarm(town: Town) -> None:
    assert _alarms(town, FIRST + timedelta(days=3)) == {}


def test_a_day_that_is_short_or_refused_in_part_says_so(town: Town) -> None:
    night = FIRST + timedelta(days=4)
    _cleaned(town, night, accepted=70, refused=10)
    assert _alarms(town, night) == {
        "incomplete": "70 records of 2026-03-06, where the days before have 100",
        "refused": "10 of 80 records of 2026-03-06 are refused",
    }
    assert _alarms(town, night, "monitor={complete: 70 %, refused: 13 %}") == {}
    _cleaned(town, night, accepted=95, run="later")
    assert _alarms(town, night) == {}, "a day counts as it was cleaned last"


def test_a_data_set_whose_last_day_is_old_is_late_unless_days_may_be_empty(town: Town) -> None:
    night = FIRST + timedelta(days=4)
    assert _alarms(town, night) == {"late": "its last day is 2026-03-05"}
    assert _alarms(town, night, "source.may_be_empty=true") == {}
    assert _alarms(town, night, "monitor.late=2 d") == {}
    assert _alarms(town, night + timedelta(days=1), "monitor.late=2 d") != {}


def test_of_what_never_came_nothing_is_said(tmp_path: Path) -> None:
    town = found(tmp_path)
    assert _alarms(town, FIRST) == {}
