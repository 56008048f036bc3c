"""The report says of a night what the lake's tables say, whenever it is written."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mornings import HORIZON, NIGHT, Models, Mornings

from nightmill.lake.ops import append
from nightmill.lake.tables import Lake
from nightmill.report.gather import gather
from nightmill.report.night import alarms_of, night_of
from nightmill.report.series import chosen
from nightmill.report.told import Entities, Morning

AT = datetime(2026, 3, 6, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def mornings(tmp_path_factory: pytest.TempPathFactory) -> Mornings:
    return Mornings(tmp_path_factory.mktemp("mornings")).written()


@pytest.fixture(scope="module")
def morning(mornings: Mornings) -> Morning:
    return gather(mornings.lake, mornings.models, mornings.use_cases(), mornings.data_sets(), NIGHT)  # type: ignore[arg-type]


def _run(
    lake: Lake, run: str, step: str, subject: str, event: str, minute: int, status: str = "", **detail: Any
) -> None:
    row = {"run_id": run, "step": step, "subject": subject, "event": event, "status": status}
    append(lake, "runs", [row | {"at": AT + timedelta(minutes=minute), "detail": json.dumps(detail)}])


def _night(lake: Lake, run: str, minute: int, *lines: tuple[str, str]) -> None:
    told = [
        {"stage": stage, "subject": "city/x", "state": state, "what": run, "seconds": 2.0, "fix": ""}
        for stage, state in lines
    ]
    _run(lake, run, "nightly", "nightly", f"night {NIGHT}", minute, day=str(NIGHT), seconds=5.0, lines=told)


def test_a_second_run_of_a_night_adds_to_the_first(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    _night(lake, "one", 0, ("features", "done"), ("train", "failed"), ("score", "skipped"))
    _night(lake, "two", 60, ("features", "nothing"), ("train", "done"), ("score", "done"))
    told = night_of(lake, NIGHT)
    assert [(ran.stage, ran.state, ran.what) for ran in told.steps] == [
        ("features", "done", "one"),
        ("train", "done", "two"),
        ("score", "done", "two"),
    ]
    assert (told.run_ids, told.seconds, told.began) == (["one", "two"], 10.0, AT)


def test_steps_by_hand_and_killed_ones_belong_to_the_last_day_that_their_run_named(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    _run(lake, "run", "land", "data/city/x", "started", 0, days=[str(NIGHT - timedelta(days=1)), str(NIGHT)])
    what = "no file can be read\n  where: raw\n  fix:   drop it again"
    _run(lake, "run", "land", "data/city/x", "ended", 2, "refused", error="DataRefused", what=what)
    _run(lake, "run", "clean", "data/city/x", "started", 3, days=[])
    _run(lake, "earlier", "land", "data/city/x", "started", -600, days=[str(NIGHT - timedelta(days=1))])
    told = night_of(lake, NIGHT)
    land, clean = told.steps
    assert (land.state, land.what, land.fix, land.seconds) == ("failed", "no file can be read", "drop it again", 120)
    assert clean.state == "killed" and told.run_ids == ["run"] and told.seconds is None


def test_alarms_are_those_of_the_night_and_new_ones_stay_new_when_it_is_run_again(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))

    def alarm(kind: str, state: str, minute: int, day: date = NIGHT) -> None:
        row = {"run_id": f"run-{minute}", "step": "monitor", "subject": "city/x", "event": f"{kind} {day}", "day": day}
        row |= {"kind": kind, "slice": "", "state": state, "value": 2.0, "limit": 1.0, "what": kind, "since": NIGHT}
        append(lake, "alarms", [row | {"at": AT + timedelta(minutes=minute), "calm": 0}])

    alarm("drift", "stays", 0)
    alarm("error", "raised", 1)
    alarm("late", "cleared", 2)
    alarm("error", "stays", 60)
    alarm("coverage", "raised", 70, NIGHT + timedelta(days=1))
    assert [(one.kind, one.state) for one in alarms_of(lake, NIGHT)] == [
        ("error", "raised"),
        ("drift", "stays"),
        ("late", "cleared"),
    ]


def test_what_ran_and_the_runs_that_did_it_are_told(morning: Morning) -> None:
    states = {(ran.stage, ran.subject): ran.state for ran in morning.steps}
    assert states["land", "data/city/river"] == "failed" and states["score", "city/river"] == "skipped"
    failed = next(ran for ran in morning.steps if ran.state == "failed")
    assert failed.fix.startswith("correct the file")
    assert (morning.run_ids, morning.seconds, morning.lake) == (["run-5"], 263.4, "lake")


def test_a_page_has_champion_figures_live_error_and_lineage(morning: Morning) -> None:
    page = next(page for page in morning.use_cases if page.name == "city/traffic")
    assert page.champion is not None
    assert (page.champion.version, page.champion.gold_version, page.champion.interval) == (3, 4, 0.8)
    assert page.champion.reason.startswith("version 3 is promoted") and len(page.champion.curves["loss"]) == 8
    assert page.verdict == "version 4 is not promoted: mae 3.41 is not below 3.21"
    assert (page.unit, page.zone, page.predictions) == ("km/h", "Europe/Berlin", 40 * HORIZON)
    assert {f.of for f in page.figures} == {"candidate", "champion", "last_value", "time_of_day_mean"}
    assert page.live[-1].day == NIGHT - timedelta(days=1) and page.live[-1].naive == 5.4
    assert [part.name for part in page.horizons] == ["1", "2", "3", "4", "5", "6"]
    assert [(link.what, link.version) for link in page.lineage] == [
        ("predictions/city/traffic", 9),
        ("model city/traffic", 3),
        ("gold/city/traffic", 7),
        ("silver/city/traffic", 5),
        ("bronze/city/traffic", 4),
    ]
    assert page.lineage[-1].more == "12 raw files"


def test_entities_of_a_slice_in_alarm_are_in_alarm_and_so_are_those_beyond_a_limit(
    mornings: Mornings, morning: Morning
) -> None:
    traffic = next(page for page in morning.use_cases if page.name == "city/traffic").entities
    north = {name for name, district in zip(mornings.detector, mornings.district) if district == "Nord"}
    assert set(traffic.of("alarm")) == north
    assert dict(zip(traffic.names, traffic.area))[mornings.detector[0]] == mornings.district[0]
    machines = next(page for page in morning.use_cases if page.name == "factory/machine_life").entities
    assert set(machines.of("alarm")) == {n for n, value in zip(machines.names, machines.value) if value < 24}


def test_series_show_the_night_before_against_its_truth_and_the_night_s_own_forecast(morning: Morning) -> None:
    page = next(page for page in morning.use_cases if page.name == "city/traffic")
    assert page.chosen[0].why == "alarm" and {one.why for one in page.chosen} >= {"largest error", "typical"}
    before, now = page.chosen[0].panels
    assert before.title.startswith("Held against truth") and now.title == "Forecast of 5 March"
    assert sum(value == value for value in before.value) == HORIZON == sum(value == value for value in now.value)
    assert all(truth == truth for truth in before.truth), "truth of the night before is known"
    machines = next(page for page in morning.use_cases if page.name == "factory/machine_life")
    (panel,) = machines.chosen[0].panels
    assert len(panel.value) == 4 and panel.every == 86400, "one value a night"


def test_the_likeliest_events_and_the_shortest_lives_come_first() -> None:
    names, unknown = [f"m{n}" for n in range(40)], [float("nan")] * 40
    value = [n / 40 for n in range(40)]
    entities = Entities(names, [""] * 40, ["normal"] * 40, unknown, unknown, value, unknown, unknown)
    assert list(chosen(entities, "high"))[:2] == ["m39", "m38"] and list(chosen(entities, "low"))[:2] == ["m0", "m1"]


def test_plans_show_every_place_with_its_status(mornings: Mornings, morning: Morning) -> None:
    city, factory = morning.plans
    assert (city.domain, city.kind, len(city.spots)) == ("city", "map", 40)
    assert (factory.kind, {spot.area for spot in factory.spots}) == ("floor", {"Hall 1", "Hall 2"})
    assert city.count("alarm") == int((mornings.district == "Nord").sum()) and city.edges
    assert city.spots[0].page == "city/traffic" and "speed" in city.spots[0].text


def test_data_pages_count_the_night_and_the_days_before_and_show_no_record(morning: Morning) -> None:
    page = next(page for page in morning.data if page.name == "city/traffic")
    assert len(page.days) == 15 and page.night.day == NIGHT
    assert page.night.parsed == page.night.accepted + page.night.refused + page.night.duplicates
    assert [(r.rule, r.records, r.reason) for r in page.refusals] == [
        ("range", 600, "speed 214.0 is not between 0 and 200"),
        ("stuck", 118, "speed has been 37.0 since 04:00"),
    ]
    river = next(page for page in morning.data if page.name == "city/river")
    assert river.unreadable[0][0] == "g1.csv" and "pegel" in river.unreadable[0][1]


def test_a_registry_that_does_not_answer_costs_only_what_it_knows(mornings: Mornings) -> None:
    models: Any = Models(broken=True)
    told = gather(mornings.lake, models, mornings.use_cases(), mornings.data_sets(), NIGHT)
    champion = next(page for page in told.use_cases if page.name == "city/traffic").champion
    assert champion is not None and champion.version == 3 and not champion.curves and champion.gold_version is None


def test_an_empty_lake_has_a_morning(tmp_path: Path) -> None:
    empty = Mornings(tmp_path)
    told = gather(empty.lake, None, empty.use_cases(), empty.data_sets(), NIGHT)
    assert not (told.steps or told.alarms or told.plans or told.data or told.use_cases)
    assert told.idle == ["city/river", "city/traffic", "factory/machine_life"]
