"""An alarm is raised once, stays while it is not clearly over, and ends after two quiet nights."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nightmill.monitor.alarms import Alarm, Figure, Name, judge, open_alarms

FIRST = date(2026, 3, 2)


def _figure(value: float, where: str = "") -> Figure:
    return Figure("city/traffic", "error", where, value, 1.5, "mean absolute error")


def _nights(values: list[float | None]) -> list[list[Alarm]]:
    found, up = [], dict[Name, Alarm]()
    for number, value in enumerate(values):
        night = FIRST + timedelta(days=number)
        alarms = judge([] if value is None else [_figure(value)], up, night)
        up = {alarm.figure.name: alarm for alarm in alarms if alarm.state != "cleared"}
        found.append(alarms)
    return found


def _states(values: list[float | None]) -> list[str]:
    return [alarms[0].state if alarms else "" for alarms in _nights(values)]


def test_an_alarm_is_raised_above_its_limit_and_ends_after_two_nights_well_below() -> None:
    assert _states([1.5, 1.6, 1.7, 1.3, 1.1, 1.1, 1.0]) == ["", "raised", "stays", "stays", "stays", "cleared", ""]


def test_a_figure_about_its_limit_calls_nobody_twice() -> None:
    assert _states([1.6, 1.4, 1.6, 1.1, 1.4, 1.1, 1.1]) == ["raised", *["stays"] * 5, "cleared"]


def test_what_was_not_measured_stays_as_it_was() -> None:
    nights = _nights([1.6, None, 1.1, None, 1.1])
    assert [alarms[0].state for alarms in nights] == ["raised", "stays", "stays", "stays", "cleared"]
    assert {alarms[0].since for alarms in nights} == {FIRST}


def test_an_alarm_that_ends_still_says_why_it_was_raised() -> None:
    told, up = [], dict[Name, Alarm]()
    for number, (value, what) in enumerate([(2, "error of 4"), (1, "error of 2"), (1, "error of 1")]):
        figure = Figure("city/traffic", "error", "", value, 1.5, what)
        alarms = judge([figure], up, FIRST + timedelta(days=number))
        up = {alarm.figure.name: alarm for alarm in alarms}
        told += [(alarm.state, alarm.figure.what) for alarm in alarms]
    assert told == [
        ("raised", "error of 4"),
        ("stays", "error of 4; now error of 2"),
        ("cleared", "error of 4; now error of 1"),
    ]


def test_alarms_of_a_night_come_first() -> None:
    up = {a.figure.name: a for a in judge([_figure(2, "road=1")], {}, FIRST)}
    alarms = judge([_figure(2, "road=1"), _figure(2, "road=2")], up, FIRST + timedelta(days=1))
    assert [(a.figure.slice, a.state) for a in alarms] == [("road=2", "raised"), ("road=1", "stays")]


@given(st.lists(st.one_of(st.none(), st.floats(0, 3)), max_size=30))
def test_what_ops_tells_gives_the_same_alarms(values: list[float | None]) -> None:
    told: list[dict[str, object]] = []
    for alarms in _nights(values):
        for alarm in alarms:
            f = alarm.figure
            told.append(
                {"subject": f.subject, "kind": f.kind, "slice": f.slice, "value": f.value, "limit": f.limit}
                | {"what": f.what, "state": alarm.state, "since": alarm.since, "calm": alarm.calm}
            )
        up = {a.figure.name: (a.since, a.calm) for a in alarms if a.state != "cleared"}
        assert {name: (a.since, a.calm) for name, a in open_alarms(told).items()} == up


@given(st.lists(st.floats(0, 3), max_size=30))
def test_each_alarm_that_is_raised_ends_at_most_once_before_the_next(values: list[float]) -> None:
    changes = [state for state in _states(list(values)) if state in ("raised", "cleared")]
    assert changes == ["raised", "cleared"] * (len(changes) // 2) + ["raised"] * (len(changes) % 2)
