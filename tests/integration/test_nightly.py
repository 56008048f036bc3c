"""The night does what is missing, once; what fails stops what rests on it, and nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from pyspark.sql import SparkSession
from rich.console import Console
from town import FIRST, Town, found, readings

from nightmill import commands, due, nightly, tables
from nightmill.commands import Outcome
from nightmill.errors import ConfigError, DataRefused, LeaseHeld
from nightmill.lake.ops import events, fates_by_day, last_records
from nightmill.nightly import Night

pytestmark = pytest.mark.usefixtures("spark")
LAST = FIRST + timedelta(days=4)
BEFORE = LAST - timedelta(days=1)


def _night(town: Town, *days: date, targets: tuple[str, ...] = ("all",), sets: tuple[str, ...] = ()) -> Outcome:
    return nightly.nightly(town.work("nightly", *days, sets=sets), list(targets))


def _states(outcome: Outcome, day: date = LAST) -> dict[tuple[str, str], str]:
    night = outcome.results[str(day)]
    assert isinstance(night, Night)
    return {(line.stage, line.subject): line.state for line in night.lines}


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Town:
    """A town after its first night, the one of BEFORE."""
    town = found(tmp_path_factory.mktemp("evening"))
    town.history(4)
    first = _night(town, BEFORE)
    assert not first.failures
    assert {state for (stage, _), state in _states(first, BEFORE).items() if stage != "monitor"} == {"done"}
    return town


def test_a_first_night_leaves_nothing_to_its_second_run(evening: Town) -> None:
    """No truth has come for its predictions yet."""
    again = _night(evening, BEFORE)
    assert again.results[str(BEFORE)].idle and not again.failures
    assert [row["night"] for row in events(evening.work("x").lake, "promotions")] == [BEFORE]


def test_a_report_is_of_all_systems_or_goes_elsewhere_and_of_a_night_that_was(evening: Town) -> None:
    with pytest.raises(ConfigError, match="is of all systems"):
        commands.report(evening.work("report", BEFORE), ["town/speeds"])
    with pytest.raises(DataRefused, match="no night of 2099-01-01"):
        commands.report(evening.work("report", date(2099, 1, 1)), ["all"])
    made = commands.report(evening.work("report", BEFORE), ["town/speeds"], str(evening.folder / "mine.html"))
    assert made.results[str(BEFORE)].failed == 0 and (evening.folder / "mine.html").exists()


def test_a_slip_in_the_folder_of_drops_makes_no_lake(town: Town) -> None:
    town.raw.rmdir()
    with pytest.raises(ConfigError, match="no folder of raw drops"):
        _night(town, FIRST)
    assert not town.lake.exists()


def test_a_prediction_is_explained_down_to_its_files(evening: Town) -> None:
    outcome = commands.explain(evening.work("explain"), ["town/speeds"], "a")
    found = outcome.results["town/speeds"]
    assert (found.day, found.origin, found.unit) == (BEFORE, datetime(2026, 3, 5, 22, 30, tzinfo=UTC), "km/h")
    assert [one["horizon"] for one in found.values] == [1, 2]
    assert (found.model.version, found.model.gold_version, found.gold.version) == (1, 0, 0)
    assert "is promoted" in found.model.reason and found.model.run == found.run
    silver = {one.table: one for one in found.gold.inputs}
    assert silver["silver/town/speeds"].files == {f"speeds/{BEFORE}/a.csv": 4}, "the window of four rows"
    assert silver["silver/town/roads"].files == {"roads.csv": 4}
    assert [one.table for one in silver["silver/town/speeds"].inputs] == ["bronze/town/speeds"]
    for entity, day, fix in (("aa", BEFORE, "did you mean 'a'?"), ("a", FIRST, f"from {BEFORE} to {BEFORE}")):
        refused = commands.explain(evening.work("explain", day), ["town/speeds"], entity).failures["town/speeds"]
        assert fix in refused.fix


def test_a_use_case_says_how_it_stands(evening: Town, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = commands.show(evening.work("show"), ["town/speeds"], None)
    found = outcome.results["town/speeds"]
    assert (found.champion, found.candidate, found.last_day) == (1, 1, BEFORE) and "is promoted" in found.why
    assert [ran.step for ran in found.steps] == ["features", "train", "evaluate", "score", "monitor"]
    assert {ran.status for ran in found.steps} == {"done"} and found.tested["last_value mae"] > 0
    assert found.alarms == []
    tables.show(outcome, Console(width=200))
    tables.show(commands.explain(evening.work("explain"), ["town/speeds"], "a"), Console(width=40))
    shown = capsys.readouterr().out
    assert "version 1 since" in shown and f"speeds/{BEFORE}/a.csv: 4 rows" in shown


def test_nights_do_what_is_missing_and_make_up_for_a_drop_that_was_late(
    evening: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = evening
    predictions = town.work("x").lake.table("predictions", "town/speeds")
    assert predictions.days_by_partition() == {BEFORE}, "history is no backlog of predictions"

    missing = _night(town, LAST)
    states = _states(missing)
    assert missing.exit_code == 4 and states["land", "data/town/speeds"] == "failed"
    assert states["features", "town/speeds"] == states["score", "town/speeds"] == "skipped"
    assert states["land", "data/town/roads"] == "nothing"

    town.drop(LAST, readings(LAST))
    after = LAST + timedelta(days=1)
    town.drop(after, readings(after))
    made_up = _night(town, after)
    assert not made_up.failures
    assert predictions.days_by_partition() == {BEFORE, LAST, after}
    states = _states(made_up, after)
    assert ("train", "town/speeds") not in states, "it is trained weekly"
    assert states["evaluate", "town/speeds"] == "nothing"

    told = len(events(town.work("x").lake, "runs"))
    monkeypatch.setattr(commands, "session", lambda _: pytest.fail("Spark was started"))
    again = _night(town, after)
    assert again.results[str(after)].idle and not again.failures
    assert len(events(town.work("x").lake, "runs")) == told, "a night without work leaves no trace"

    report = town.lake / "reports" / f"{after}.html"
    assert "town/speeds" in report.read_text()
    report.unlink()  # as if the night had been killed before it was written
    again = _night(town, after)
    assert [line.stage for line in again.results[str(after)].lines if line.state == "done"] == ["report"]
    assert report.exists()


def test_nights_of_a_backfill_are_runs_of_their_own(evening: Town) -> None:
    town, lake = evening, evening.work("x").lake
    first, second = (LAST + timedelta(days=n) for n in (2, 3))
    town.drop(first, readings(first))
    town.drop(second, [*readings(second), *readings(first)[:10]])
    outcome = _night(town, first, second)
    assert not outcome.failures
    runs = [outcome.results[str(day)].run_id for day in (first, second)]
    assert len(set(runs)) == 2 and all(run.endswith(f"{day:%Y%m%d}") for run, day in zip(runs, (first, second)))
    versions = {row["version"] for row in events(lake, "lineage", table="gold/town/speeds", direction="wrote")}
    assert lake.table("gold", "town/speeds").version() in versions
    counted = fates_by_day(last_records(lake, "data/town/speeds"))[first]
    assert counted == {"parsed": 154, "accepted": 144, "duplicate": 10}
    again = _night(town, second)
    assert again.results[str(second)].idle


@pytest.mark.parametrize(
    "content",
    [pytest.param("", marks=pytest.mark.slow, id="empty"), pytest.param("nothing,of,this\n1,2,3\n", id="other")],
)
def test_a_drop_that_is_refused_whole_fails_its_own_night_and_no_other(evening: Town, content: str) -> None:
    scored = evening.work("x").lake.table("predictions", "town/speeds").days_by_partition()
    bad = max(scored) + timedelta(days=1)
    after = bad + timedelta(days=1)
    evening.drop(bad, []).write_text(content)
    outcome = _night(evening, bad)
    assert outcome.exit_code == 4 and _states(outcome, bad)["land", "data/town/speeds"] == "failed"
    assert "no file of the drop of town/speeds" in outcome.failures["land data/town/speeds"].what
    evening.drop(after, readings(after))
    outcome = _night(evening, after)
    assert not outcome.failures and _states(outcome, after)["score", "town/speeds"] == "done"
    assert _night(evening, after).results[str(after)].idle


def test_a_table_of_which_no_file_ever_came_is_not_in_use(town: Town) -> None:
    work = town.work("nightly", FIRST)
    roads = work.configuration.data_set("data/town/roads")
    assert due.never_dropped(work.lake, roads, str(town.raw))
    town.history(1)
    assert not due.never_dropped(work.lake, roads, str(town.raw))


def test_a_night_has_a_day_that_came_and_is_alone_in_its_lake(town: Town) -> None:
    town.history(1)
    with pytest.raises(ConfigError, match="a night has a day"):
        _night(town)
    with pytest.raises(ConfigError, match="the night of 2126-03-02 has not come yet"):
        _night(town, date(2126, 3, 2))
    with town.work("nightly").step("nightly", "nightly"), pytest.raises(LeaseHeld, match="being worked on"):
        _night(town, FIRST)
    with pytest.raises(ConfigError, match="the night of 2126-03-02 has not come yet"):
        commands.monitor(town.work("monitor", date(2126, 3, 2)), ["town/speeds"])


def test_a_system_that_is_not_in_use_is_left_out_and_a_broken_one_stops_no_other(town: Town) -> None:
    conf = town.folder / "conf"
    for name in ("idle", "broken"):
        text = (conf / "data/town/speeds.yaml").read_text().replace("/speeds/", f"/{name}/")
        (conf / f"data/town/{name}.yaml").write_text(text)
        (conf / f"town/{name}.yaml").write_text(
            (conf / "town/speeds.yaml").read_text().replace("/speeds,", f"/{name},")
        )
    town.history(1)
    (town.raw / "broken" / str(FIRST)).mkdir(parents=True)
    (town.raw / "broken" / str(FIRST) / "a.csv").write_text("nothing,of,this\n1,2,3\n")
    sets = ("train.due=monthly",)
    outcome = _night(town, FIRST, sets=sets)
    states = _states(outcome, FIRST)
    assert not any("idle" in subject for _, subject in states)
    assert states["land", "data/town/broken"] == "failed" and states["score", "town/broken"] == "skipped"
    assert states["features", "town/speeds"] == "done"
    page = (town.lake / "reports" / f"{FIRST}.html").read_text()
    assert "town/broken" in page.split("not in use here")[0]
    assert "town/idle" in page.split("not in use here")[1]


def test_a_night_without_time_left_judges_only_what_is_new(evening: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightmill.nightly._Run._seconds_left", lambda _: 0.0)
    outcome = _night(evening, BEFORE)
    assert "budget was used up" in str(outcome.failures["land data/town/speeds"])
    monkeypatch.setattr("nightmill.nightly.UNTIL_THE_BUDGET", ())  # it is used up after the features
    assert _states(_night(evening, BEFORE), BEFORE)["evaluate", "town/speeds"] == "nothing"
