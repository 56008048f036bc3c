"""What may happen in a night, and what the night and the next one make of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark.sql import SparkSession
from town import FIRST, Town, found, readings

from nightmill import commands, nightly
from nightmill.commands import Outcome, Work
from nightmill.lake import ops
from nightmill.lake.ops import events
from nightmill.nightly import Night

LAST = FIRST + timedelta(days=4)
NEXT = LAST + timedelta(days=1)
SPEEDS = "town/speeds"


def _night(town: Town, day: date, *sets: str) -> Outcome:
    return nightly.nightly(town.work("nightly", day, sets=sets), ["all"])


def _states(outcome: Outcome) -> dict[str, str]:
    (night,) = outcome.results.values()
    assert isinstance(night, Night)
    return {line.stage: line.state for line in night.lines if line.subject in (SPEEDS, f"data/{SPEEDS}")}


@pytest.fixture(scope="module")
def morning(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """A town after its first night, to be copied; the drop of the next day is there."""
    folder = tmp_path_factory.mktemp("morning") / "town"
    folder.mkdir()
    town = found(folder)
    town.history(5)
    assert not _night(town, LAST).failures
    town.drop(NEXT, readings(NEXT))
    return folder


@pytest.fixture
def town(morning: Path, tmp_path: Path) -> Town:
    shutil.copytree(morning, tmp_path / "town")
    return Town(tmp_path / "town")


def _predicted(town: Town) -> set[date]:
    return town.work("x").lake.table("predictions", SPEEDS).days_by_partition()


def test_a_champion_whose_file_is_damaged_is_replaced_by_a_new_one(town: Town) -> None:
    (weights,) = (town.lake / "models").rglob("model.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    outcome = _night(town, NEXT)
    assert not outcome.failures
    assert _states(outcome)["train"] == _states(outcome)["evaluate"] == "done"
    assert town.work("x").registry.champion(SPEEDS) == 2 and NEXT in _predicted(town)


def test_without_the_model_registry_data_are_made_ready_and_the_next_night_scores(town: Town) -> None:
    outcome = _night(town, NEXT, "mlflow.uri=http://127.0.0.1:9")
    states = _states(outcome)
    assert outcome.exit_code == 4 and {states[name] for name in ("land", "clean", "features")} == {"done"}
    assert states["score"] == "failed" and NEXT not in _predicted(town)
    assert {error.what for error in outcome.failures.values()} == {"the MLflow server cannot be reached"}
    alarms = events(town.work("x").lake, "alarms", subject=SPEEDS, kind="failed")
    assert "cannot be reached" in alarms[-1]["what"]
    again = _night(town, NEXT)
    assert not again.failures and NEXT in _predicted(town)


@contextmanager
def _as_soon_as(ready: Callable[[], Any], do: Callable[[Any], None]) -> Iterator[None]:
    """Does something to what `ready` finds first, in a thread of its own."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            if item := ready():
                do(item)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _training(parent: int) -> psutil.Process | None:
    for child in psutil.Process(parent).children():
        with suppress(psutil.Error):  # it may end meanwhile
            if "train" in child.cmdline():
                return child
    return None


@pytest.mark.slow
def test_a_training_that_is_killed_stops_nothing_else_and_the_next_night_trains(town: Town) -> None:
    with _as_soon_as(lambda: _training(os.getpid()), lambda child: child.kill()):
        outcome = _night(town, NEXT, "train.due=nightly")
    states = _states(outcome)
    assert (states["train"], states["score"], outcome.exit_code) == ("failed", "done", 4)
    assert "code -9" in outcome.failures[f"train {SPEEDS}"].what
    assert _states(_night(town, NEXT, "train.due=nightly"))["train"] == "done"
    assert town.work("x").registry.candidate(SPEEDS) == 2


def test_a_drop_that_comes_while_the_night_is_at_work_is_of_the_next_run(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, late = commands.clean, "a,2026-03-07 00:10:00,61.5"

    def clean(work: Work, targets: list[str]) -> Outcome:
        if targets == [f"data/{SPEEDS}"]:
            town.drop(NEXT, [late], name="late.csv")
        return original(work, targets)

    monkeypatch.setattr(nightly, "clean", clean)
    outcome = _night(town, NEXT)
    assert not outcome.failures and 61.5 not in town.table("silver")["speed"].to_pylist()
    monkeypatch.undo()
    again = _night(town, NEXT)
    assert not again.failures and _states(again)["land"] == "done"
    assert 61.5 in town.table("silver")["speed"].to_pylist()


def test_the_night_of_a_clock_change_has_23_hours(town: Town) -> None:
    change = date(2026, 3, 29)
    for n in range(4, -1, -1):
        day = change - timedelta(days=n)
        town.drop(day, [line for line in readings(day) if n or " 02:" not in line])
    outcome = _night(town, change, "train.due=monthly")
    assert not outcome.failures
    gold = town.table("gold")
    assert sum(day == change for day in gold["day"].to_pylist()) == 3 * 46
    predicted = [row for row in town.rows("predictions") if row["day"] == change]
    assert {row["ts"] for row in predicted} == {datetime(2026, 3, 29, 21, 30, tzinfo=UTC)}
    assert {row["target_ts"].hour for row in predicted} == {22}, "what comes next is an hour of the day after"
    assert not [a for a in events(town.work("x").lake, "alarms", day=change) if a["kind"] in ("incomplete", "refused")]


@pytest.mark.slow
def test_a_night_killed_while_it_trains_takes_its_training_along_and_is_made_up_for(town: Town, tmp_path: Path) -> None:
    sets = ["--set", "train.due=nightly", "--set", "train.epochs=40"]
    command = [sys.executable, "-m", "nightmill", "nightly", "--day", NEXT.isoformat(), *sets]
    command += ["--lake", str(town.lake), "--raw", str(town.raw), "--conf", str(town.folder / "conf")]
    with (tmp_path / "log").open("w") as log:
        night = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while (training := _training(night.pid)) is None:
            assert night.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        night.send_signal(signal.SIGKILL)
        night.wait()
    deadline = time.monotonic() + 60
    while training.is_running() and training.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the training outlived its night"
        time.sleep(0.1)
    outcome = _night(town, NEXT, "train.due=nightly")
    assert not outcome.failures and _states(outcome)["train"] == "done"
    assert _predicted(town) == {LAST, NEXT}


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_sixty_nights_in_a_row_grow_nothing_but_the_data(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "MANY_FILES", 16)
    lake, process = town.work("x").lake, psutil.Process()
    seen: list[dict[str, int]] = []
    for n in range(60):
        day = NEXT + timedelta(days=n)
        town.drop(day, [line for line in readings(day) if day != date(2026, 3, 29) or " 02:" not in line])
        outcome = _night(town, day, "train.due=monthly")
        assert not outcome.failures, day
        tables = [lake.table("ops", name) for name in ops.SCHEMAS]
        seen.append(
            {
                "files of ops": max(len(table.delta().file_uris()) for table in tables if table.exists()),
                "leases": len([p for p in (town.lake / "ops" / "leases").rglob("*") if p.is_file()]),
                "threads": threading.active_count(),
                "memory": process.memory_info().rss,
                "report": (town.lake / "reports" / f"{day}.html").stat().st_size,
            }
        )
    assert len(_predicted(town)) == 61
    early, late = seen[15:25], seen[-10:]
    for name in ("files of ops", "leases", "threads"):
        assert max(s[name] for s in late) <= max(s[name] for s in early) + 2, name
    for name in ("memory", "report"):
        assert max(s[name] for s in late) <= 1.3 * max(s[name] for s in early), name
