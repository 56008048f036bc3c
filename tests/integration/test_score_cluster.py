"""Scoring on a cluster of which a part dies: the table is as if nothing had happened, and readers never see half."""

import json
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from standalone import Cluster, standalone
from town import FIRST, Town, found

from nightmill.commands import score
from nightmill.score import slices

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.slow, pytest.mark.timeout(600)]
DAYS = [FIRST + timedelta(days=n) for n in range(6)]
DAY = DAYS[5]
EACH = ("score.origins=each",)

DRIVER = """
import sys, time
from nightmill.score import slices, stage
from nightmill.score.task import score_slices
from nightmill.cli import main

slices.LEAST, slices.PER_SLOT = 9, 1000

def slowly(assignment, items):
    for part in score_slices(assignment, items):
        yield part
        time.sleep(1)

stage.score_slices = slowly
sys.exit(main(sys.argv[1:]))
"""


def _rows(town: Town) -> list:
    return [row for row in town.rows("predictions") if row["day"] == DAY]


def test_an_executor_that_is_killed_changes_nothing(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = found(tmp_path)
    town.history(6)
    town.stages("land", "clean", "features", "train", days=tuple(DAYS))
    town.work("x").registry.promote("town/speeds", 1)
    for name, value in (("LEAST", 9), ("PER_SLOT", 1000)):  # the same slices have the same digits
        monkeypatch.setattr(slices, name, value)
    assert score(town.work("score", DAY, sets=EACH), ["town/speeds"]).exit_code == 0
    expected, table = _rows(town), town.work("x").lake.table("predictions", "town/speeds")
    before = set(Path(table.uri).glob("day=*/*.parquet"))
    seen, ended = set[tuple[int, int]](), threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            rows = table.delta().to_pyarrow_table(columns=["run_id", "day"])
            seen.add((rows.num_rows, len(set(rows["run_id"].to_pylist()))))

    with standalone(tmp_path) as cluster:
        local = "{spark.driver.host: 127.0.0.1, spark.driver.bindAddress: 127.0.0.1}"
        environment = f"extends: ../base.yaml\nspark: {{master: '{cluster.master}', settings: {local}}}\n"
        (town.folder / "conf/env/cluster.yaml").write_text(environment)
        script = tmp_path / "driver.py"
        script.write_text(DRIVER)
        command = [sys.executable, str(script), "score", "town/speeds", "--conf", str(town.folder / "conf")]
        command += ["--env", "cluster", "--lake", str(town.lake), "--day", DAY.isoformat(), "--json"]
        command += ["--set", EACH[0]]
        reader = threading.Thread(target=watch)
        reader.start()
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        try:
            killed = _kill_in_the_middle(cluster, Path(table.uri), before, driver)
            told, _ = driver.communicate(timeout=240)
        finally:
            driver.kill()
            ended.set()
            reader.join()
        assert killed and driver.returncode == 0, told
    assert _rows(town) == expected
    assert seen == {(len(expected), 1)}, "the old day or the new one"
    assert json.loads(told)["results"]["town/speeds"][0]["rows"] == len(expected)
    left = set(Path(table.uri).glob("day=*/*.parquet")) - before
    assert left == {Path(uri) for uri in table.delta().file_uris()}, "what the lost tasks wrote is swept"


def _kill_in_the_middle(cluster: Cluster, folder: Path, before: set[Path], driver: subprocess.Popen[str]) -> bool:
    """Kills the executor once some files of the day are there and others are not."""
    end = time.monotonic() + 120
    while time.monotonic() < end and driver.poll() is None:
        if len(set(folder.glob("day=*/*.parquet")) - before) >= 3:
            (executor,) = cluster.executors()
            executor.kill()
            return True
        time.sleep(0.1)
    return False
