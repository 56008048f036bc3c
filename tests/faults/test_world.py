"""When the world fails: full disk, unreadable lake, no Java, wrong Java. Clear message, right code, nothing written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession
from town import FIRST, Town, found, readings

from nightmill.errors import MachineError
from nightmill.lake.faults import translate


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return found(tmp_path)


def _nightmill(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nightmill", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env={**os.environ, **environment}
    )


def _land(town: Town, **environment: str) -> subprocess.CompletedProcess[str]:
    town.drop(FIRST, readings(FIRST))
    arguments = ["land", "data/town/speeds", "--day", str(FIRST), "--conf", str(town.folder / "conf")]
    return _nightmill(*arguments, "--raw", str(town.raw), "--lake", str(town.lake), **environment)


def _fake_java(folder: Path, text: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    java.chmod(0o755)
    return folder


def test_without_java_the_command_says_how_to_get_it(town: Town, tmp_path: Path) -> None:
    ended = _land(town, JAVA_HOME="", PATH=str(tmp_path / "empty"))
    assert ended.returncode == 2
    assert "Java" in ended.stderr and "install" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not town.lake.exists()


def test_with_a_java_that_is_too_old_the_command_says_so(town: Town, tmp_path: Path) -> None:
    ended = _land(town, JAVA_HOME=str(_fake_java(tmp_path / "java8", 'openjdk version "1.8.0_402"')))
    assert ended.returncode == 2
    assert "1.8.0_402 is too old" in ended.stderr
    assert not town.lake.exists()


@pytest.mark.parametrize(
    ("words", "after", "number"),
    [
        ("land data/town/speeds", 1.0, signal.SIGINT),
        ("land data/town/speeds", 12.0, signal.SIGTERM),
        ("nightly town/speeds", 12.0, signal.SIGINT),
    ],
    ids=["Ctrl-C while Spark starts", "SIGTERM while it works", "Ctrl-C in the night"],
)
def test_a_command_that_is_stopped_ends_quietly_and_spark_with_it(
    town: Town, words: str, after: float, number: int
) -> None:
    town.history(3)
    arguments = [*words.split(), "--from", str(FIRST), "--to", str(FIRST + timedelta(days=2))]
    arguments += ["--conf", str(town.folder / "conf"), "--raw", str(town.raw), "--lake", str(town.lake)]
    command = [sys.executable, "-m", "nightmill", *arguments]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (engines := _javas(started.pid)):
        assert started.poll() is None
        time.sleep(0.1)
    time.sleep(after)
    if number == signal.SIGINT:
        os.killpg(started.pid, number)  # a terminal tells the whole group, a scheduler the process that it started
    else:
        started.send_signal(number)
    _, told = started.communicate(timeout=60)
    if started.returncode != 0:  # on a quick machine the later ones may have been done
        assert started.returncode == 128 + number
        assert "Traceback" not in told and told.endswith("nightmill: stopped; the same command takes it up again\n")
    psutil.wait_procs(engines, timeout=30)
    assert not [engine for engine in engines if engine.is_running()]
    assert not list((town.lake / "ops" / "leases").glob("*.json")), "the lease is given back"


def _javas(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children(recursive=True) if child.name() == "java"]


@pytest.mark.parametrize("stage", ["clean", "features", "train", "evaluate", "score"])
def test_a_slip_in_the_lakes_path_leaves_no_empty_lake_behind(town: Town, stage: str) -> None:
    with pytest.raises(MachineError, match="there is no lake"):
        town.stages(stage)
    assert not town.lake.exists()


def test_a_lake_that_cannot_be_used_is_refused_before_spark_starts(town: Town) -> None:
    town.lake.write_text("not a folder")
    ended = _land(town)
    assert ended.returncode == 2
    assert "lake cannot be used" in ended.stderr
    assert town.lake.read_text() == "not a folder"


def test_a_full_disk_is_said_and_nothing_is_half_written(town: Town, spark: SparkSession) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    town.lake.mkdir()
    size = "size=80k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(town.lake)], check=False).returncode:
        pytest.skip("this machine does not allow to mount a small file system")
    try:
        for number in range(40):
            town.drop(FIRST, readings(FIRST, detectors="abcdefghij", speed=60 + number / 7), f"{number}.csv")
        from nightmill.commands import land

        outcome = land(town.work("land", FIRST), ["data/town/speeds"])
        (error,) = outcome.failures.values()
        assert outcome.exit_code == 4
        assert "disk is full" in error.what
        table = town.work("x").lake.table("bronze", "town/speeds")
        rows = len(town.rows("bronze")) if table.exists() else 0
        assert rows in (0, 40 * 480), "the drop is there whole or not at all"
    finally:
        subprocess.run(["umount", str(town.lake)], check=True)


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        ("java.io.IOException: No space left on device", "WorkFailed", "disk is full"),
        ("Generic S3 error: Error performing PUT http://x/latest/api/token", "MachineError", "object store"),
        ("[FAILED_READ_FILE.NO_HINT] while reading file:/lake/x.parquet", "DataRefused", "cannot be read"),
        ("open: Permission denied", "MachineError", "no right"),
        ("DELTA_FAILED_TO_MERGE_FIELDS: fields 'speed' and 'speed'", "DataRefused", "column speed has another type"),
        ("DELTA_CONCURRENT_APPEND: files were added", "WorkFailed", "another writer"),
        ("SparkException: Python worker exited unexpectedly (crashed)", "WorkFailed", "a process of Spark died"),
        ("java.lang.OutOfMemoryError: Java heap space", "WorkFailed", "a process of Spark died"),
    ],
)
def test_what_engines_throw_becomes_a_typed_error(text: str, kind: str, what: str) -> None:
    typed = translate(RuntimeError(text), "here")
    assert type(typed).__name__ == kind
    assert what in str(typed)


def test_what_is_not_known_is_left_as_it_is() -> None:
    assert translate(RuntimeError("something else"), "here") is None
