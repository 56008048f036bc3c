"""Events are appended, told once, and tell of runs that were killed."""

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nightmill.errors import DataRefused
from nightmill.lake import ops
from nightmill.lake.lease import Lease
from nightmill.lake.ops import append, events, unfinished
from nightmill.lake.run import Step, new_run_id, step
from nightmill.lake.tables import Lake

MINUTE = timedelta(minutes=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path))


def test_a_step_that_ends_leaves_a_start_and_an_end(lake: Lake) -> None:
    with step(lake, "run-1", "clean", "data/city/traffic", MINUTE, (date(2026, 3, 1),)) as current:
        current.begin()
        current.begin()
    told = [(e["run_id"], e["step"], e["event"], e["status"]) for e in events(lake, "runs")]
    assert told == [("run-1", "clean", "started", ""), ("run-1", "clean", "ended", "done")]


def test_a_step_that_finds_nothing_to_do_leaves_no_trace(lake: Lake) -> None:
    with step(lake, "run-1", "clean", "data/city/traffic", MINUTE) as current:
        current.inputs["bronze/city/traffic"] = 3
    assert events(lake, "runs") == events(lake, "lineage") == []


def test_a_step_that_is_refused_says_why_and_frees_its_lease(lake: Lake) -> None:
    with pytest.raises(DataRefused), step(lake, "run-1", "clean", "city/traffic", MINUTE):
        raise DataRefused("the drop is empty")
    ended = events(lake, "runs", event="ended")[0]
    assert ended["status"] == "refused"
    assert "the drop is empty" in ended["detail"]
    with step(lake, "run-2", "clean", "city/traffic", MINUTE):
        pass


def test_a_step_without_an_end_was_killed_and_the_next_run_says_so_once(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    Step(lake, "run-1", "clean", "city/traffic", Lease(lake, "city/traffic", "run-1", MINUTE)).event("started")
    assert [e["run_id"] for e in unfinished(lake, "city/traffic")] == ["run-1"]
    with step(lake, "run-2", "clean", "city/traffic", MINUTE):
        assert "its step clean was killed in run run-1" in caplog.text
    caplog.clear()
    with step(lake, "run-3", "clean", "city/traffic", MINUTE):
        assert "killed" not in caplog.text
    assert [e["status"] for e in events(lake, "runs", run_id="run-1")] == ["", "killed"]


def test_an_event_that_was_written_twice_is_told_once(lake: Lake) -> None:
    row = {"run_id": "run-1", "step": "clean", "subject": "city/traffic", "event": "started", "at": datetime.now(UTC)}
    append(lake, "runs", [dict(row)])
    append(lake, "runs", [dict(row)])
    assert len(events(lake, "runs")) == 1


def test_a_run_may_do_a_step_again_and_a_kill_of_the_second_is_told(lake: Lake) -> None:
    with step(lake, "run-1", "clean", "city/traffic", MINUTE) as current:
        current.begin()
    Step(lake, "run-1", "clean", "city/traffic", Lease(lake, "city/traffic", "run-1", MINUTE)).event("started")
    assert [row["event"] for row in events(lake, "runs")] == ["started", "ended", "started"]
    assert len(unfinished(lake, "city/traffic")) == 1


def test_lineage_names_inputs_and_outputs_with_versions(lake: Lake) -> None:
    with step(lake, "run-1", "clean", "city/traffic", MINUTE) as current:
        current.inputs["bronze/city/traffic"] = 3
        current.begin()
        current.wrote(lake.table("silver", "city/traffic"), 7)
    told = {(e["direction"], e["table"], e["version"]) for e in events(lake, "lineage")}
    assert told == {("read", "bronze/city/traffic", 3), ("wrote", "silver/city/traffic", 7)}


def test_several_writers_at_once_lose_no_event(lake: Lake) -> None:
    def write(number: int) -> None:
        lease = Lease(lake, f"city/{number}", "run", MINUTE)
        for event in range(3):
            Step(lake, "run", "clean", f"city/{number}", lease).event(f"event {event}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events(lake, "runs")) == 12


def test_run_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_run_id("land") for _ in range(50)]
    assert len(set(ids)) == 50
    assert ids[0][:8].isdigit()


def test_many_small_files_become_one_and_tell_the_same(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "MANY_FILES", 5)
    current = Step(lake, "run-1", "clean", "city/traffic", Lease(lake, "city/traffic", "run-1", MINUTE))
    for number in range(4):
        current.event(f"event {number}")
    table, told = lake.table("ops", "runs"), events(lake, "runs")
    ops.compact(lake)
    assert len(table.delta().file_uris()) == 4, "few files are left alone"
    current.event("event 4")
    ops.compact(lake)
    assert len(table.delta().file_uris()) == 1
    assert events(lake, "runs")[:4] == told
    current.event("event 5")
    assert len(events(lake, "runs")) == 6
