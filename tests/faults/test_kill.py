"""SIGKILL before, during and after a stage's commit: the next run leaves what an undisturbed run leaves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from town import FIRST, Town, found, readings

from nightmill.lake.ops import events

pytestmark = pytest.mark.slow  # a whole night that is killed is in test_night.py
DAYS = tuple(FIRST + timedelta(days=n) for n in range(4))
STAGES = ("land", "clean", "features", "train", "evaluate", "score")
TABLES = {"land": "bronze", "clean": "silver", "features": "gold", "score": "predictions"}

QUICK = '{"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}'

# Runs a stage and kills its whole process group at a point: when the lease is checked right before the commit, when a
# data file lies there and no commit yet, or when the commit lies there.
KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from nightmill.lake.lease import Lease
from nightmill.lake.registry import Registry
stage, point, table, *arguments = sys.argv[1:]
def kill(*_, **__):
    os.killpg(0, signal.SIGKILL)
known = set(Path(table).rglob("*")) if table else set()
def watch(pattern):
    while not any(p.suffix == pattern for p in set(Path(table).rglob("*")) - known):
        time.sleep(0.001)
    kill()
if point == "before":
    Lease.verify = kill
elif stage == "evaluate":
    original = Registry.promote
    Registry.promote = lambda *a: (original(*a), kill())
else:
    pattern = {"during": ".parquet", "after": ".json"}[point]
    threading.Thread(target=watch, args=(pattern,), daemon=True).start()
from nightmill.cli import main
sys.exit(main([stage, *arguments]))
"""


@dataclass
class Chain:
    """The lake before each stage of an undisturbed chain, and what each stage left."""

    folder: Path
    town: Town
    after: dict[str, list[object]]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    (folder / "town").mkdir()
    town = found(folder / "town")
    town.history(4)
    town.drop(FIRST, [*readings(FIRST), "a,2026-03-02 23:10:00,fast"])
    after: dict[str, list[object]] = {}
    for stage in STAGES:
        if town.lake.exists():
            shutil.copytree(town.lake, folder / f"before-{stage}")
        town.stages(stage, days=DAYS)
        after[stage] = town.rows(TABLES[stage]) if stage in TABLES else []
    return Chain(folder, town, after)


def _kill(town: Town, stage: str, point: str) -> None:
    table = str(town.lake / TABLES[stage] / "town" / "speeds") if stage in TABLES else ""
    command = [sys.executable, "-c", KILLED, stage, point, table, "town/speeds", "--lake", str(town.lake)]
    command += ["--conf", str(town.folder / "conf"), "--set", f"spark.settings={QUICK}"]
    if stage in TABLES:
        command += ["--from", DAYS[0].isoformat(), "--to", DAYS[-1].isoformat()]
    if stage == "land":
        command += ["--raw", str(town.raw)]
    ended = subprocess.run(command, capture_output=True, text=True, start_new_session=True, timeout=200, check=False)
    assert ended.returncode == -9, ended.stderr


def _reset(chain: Chain, stage: str) -> Town:
    shutil.rmtree(chain.town.lake)
    before = chain.folder / f"before-{stage}"
    if before.exists():
        shutil.copytree(before, chain.town.lake)
    return chain.town


@pytest.mark.parametrize("point", ["before", "during", "after"])
@pytest.mark.parametrize("stage", list(TABLES))
def test_a_stage_killed_around_its_commit_and_run_again_leaves_the_same(chain: Chain, stage: str, point: str) -> None:
    town = _reset(chain, stage)
    _kill(town, stage, point)
    table = town.work("x").lake.table(TABLES[stage], "town/speeds")  # type: ignore[arg-type]
    if point != "after" and table.exists():
        assert town.rows(TABLES[stage]) in ([], chain.after[stage]), "readers never see half a day"
    town.stages(stage, days=DAYS)
    assert town.rows(TABLES[stage]) == chain.after[stage]
    assert "killed" in {e["status"] for e in events(town.work("x").lake, "runs")}, "the next run says so"


@pytest.mark.parametrize("point", ["before", "after"])
def test_an_evaluation_killed_around_its_promotion_promotes_once(chain: Chain, point: str) -> None:
    town = _reset(chain, "evaluate")
    _kill(town, "evaluate", point)
    town.stages("evaluate")
    lake = town.work("x").lake
    assert [e["model_version"] for e in events(lake, "promotions")] == [1]
    assert town.work("x").registry.champion("town/speeds") == 1
