"""Real Ray Train worker groups on a tiny table."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nightmill.config import Environment, UseCase
from nightmill.config.search import Search
from nightmill.errors import DataRefused, WorkFailed
from nightmill.models.bundle import WEIGHTS
from nightmill.train.job import SearchJob, Trained, TrainJob
from nightmill.train.ray_group import search_all, train_all
from nightmill.train.search import Searched

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = ("speed", "minute_of_week")


def write_gold(path: Path) -> str:
    rng, hours, tables = np.random.default_rng(0), np.arange(240), []
    for entity in ("e0", "e1", "e2"):
        speed = (50 + 10 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 1, 240)).astype(np.float32)
        stamps = [MONDAY + timedelta(hours=int(h)) for h in hours]
        tables.append(
            pa.table(
                {
                    "entity": pa.array([entity] * 240),
                    "ts": pa.array(stamps, pa.timestamp("us", "UTC")),
                    "day": pa.array([date(s.year, s.month, s.day) for s in stamps]),
                    "speed": speed,
                    "minute_of_week": ((hours * 60) % 10080).astype(np.float32),
                    "target": speed,
                }
            )
        )
    write_deltalake(str(path), pa.concat_tables(tables).combine_chunks())
    return str(path)


def make_job(uri: str, place: Path, name: str = "city/good", hidden: int = 16, **train: object) -> TrainJob:
    case = UseCase.model_validate(
        {
            "name": name,
            "title": "t",
            "task": "forecast",
            "inputs": {"speed": "data/city/traffic"},
            "target": {"column": "speed", "horizon": 2},
            "features": [{"columns": ["speed"]}, {"calendar": ["minute_of_week"]}],
            "model": {
                "family": "stid",
                "window": 4,
                "hidden": hidden,
                "blocks": 1,
                "embedding": 8,
                "slots": 24,
                "dropout": 0,
            },
            "train": {"epochs": 2, "batch": 64, "learning_rate": 0.01} | train,
            "evaluate": {"split": {"time": {"validation": 0.2, "test": 0.2}}},
        }
    )
    checkpoint, result = str(place / name / "checkpoint"), str(place / name / "result")
    return TrainJob(case, uri, None, FEATURES, timedelta(hours=1), 3, checkpoint, result)


def make_trees(uri: str, place: Path) -> TrainJob:
    job = make_job(uri, place, "city/trees")
    data = job.use_case.model_dump(mode="json", by_alias=True) | {
        "model": {"family": "trees", "window": 4, "rounds": 5}
    }
    return replace(job, use_case=UseCase.model_validate(data))


def test_one_group_trains_all_jobs_and_a_failing_one_stops_no_other(tmp_path, capfd, caplog):
    good = write_gold(tmp_path / "good")
    jobs = [
        make_job(good, tmp_path / "two", "city/good"),
        make_job(good, tmp_path / "two", "city/bad", learning_rate=1e30),
        make_job(good, tmp_path / "two", "city/large", hidden=400_000),
        make_job(str(tmp_path / "absent"), tmp_path / "two", "city/absent"),
        make_job(good, tmp_path / "two", "city/later"),
        make_trees(good, tmp_path / "two"),
    ]
    told = []
    first, failed, large, absent, later, forest = train_all(jobs, 2, Environment(), told.append)
    shown = capfd.readouterr()

    assert isinstance(first, Trained) and isinstance(later, Trained), (first, later)
    assert first.workers == 2 and len(first.history) == 2
    assert isinstance(failed, WorkFailed) and "is not a number" in failed.what and "e0" in failed.what
    assert isinstance(large, WorkFailed) and "out of memory" in large.what
    assert isinstance(absent, DataRefused)
    assert [(t["use_case"], t["epoch"]) for t in told] == [
        ("city/good", 1),
        ("city/good", 2),
        ("city/later", 1),
        ("city/later", 2),
        ("city/trees", 1),
        ("city/trees", 2),
    ]
    assert shown.out == "" and shown.err == ""
    assert [r for r in caplog.records if r.levelno >= logging.WARNING and r.name.startswith("ray")] == []

    alone = train_all([make_job(good, tmp_path / "one", "city/good")], 0, Environment())[0]
    assert isinstance(alone, Trained)
    ours, theirs = ([line["loss"] for line in t.history] for t in (alone, first))
    assert np.allclose(ours, theirs, rtol=1e-4), "the world size must not change the losses"
    (grown,) = train_all([make_trees(good, tmp_path / "one")], 0, Environment())
    assert isinstance(grown, Trained) and isinstance(forest, Trained) and forest.workers == 2
    assert [line["loss"] for line in grown.history] == [line["loss"] for line in forest.history]
    assert grown.bundle.metrics == forest.bundle.metrics


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_train_ray import make_job
from nightmill.config import Environment
from nightmill.train.ray_group import train_all
job = make_job({uri!r}, Path({place!r}), epochs=40, checkpoint_steps=1)
train_all([job], 2, Environment(), lambda line: print(line["epoch"], flush=True))
"""


@pytest.mark.slow
def test_a_killed_driver_leaves_a_checkpoint_from_which_the_next_call_goes_on(tmp_path):
    uri, place = write_gold(tmp_path / "gold"), tmp_path / "work"
    script = SCRIPT.format(here=str(Path(__file__).parent), uri=uri, place=str(place))
    driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert driver.stdout is not None
    assert driver.stdout.readline().strip() == "1"
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _wait_until_gone(driver.pid)

    job = make_job(uri, place, epochs=40, checkpoint_steps=1)
    (found,) = train_all([job], 0, Environment())
    assert isinstance(found, Trained)
    assert found.resumed_from is not None and found.resumed_from >= 7
    assert [line["epoch"] for line in found.history] == list(range(1, 41))
    assert (Path(job.result) / WEIGHTS).is_file()


def make_search(uri: str, place: Path, trials: int, **train: object) -> SearchJob:
    job = make_job(uri, place, **train)
    space = {"train.learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "model.window": [4, 8]}
    search = Search.model_validate({"space": space, "trials": trials})
    case = job.use_case.model_copy(update={"search": search})
    return SearchJob(**vars(replace(job, use_case=case, checkpoint=str(place / "trials"))))


def test_a_group_searches_as_one_process_does(tmp_path):
    uri, lines = write_gold(tmp_path / "gold"), []
    (group,) = search_all([make_search(uri, tmp_path / "group", 3)], 2, Environment(), lines.append)
    (alone,) = search_all([make_search(uri, tmp_path / "alone", 3)], 0, Environment())
    assert isinstance(group, Searched) and isinstance(alone, Searched), group
    assert [trial.options for trial in group.trials] == [trial.options for trial in alone.trials]
    for ours, theirs in zip(group.trials, alone.trials):
        assert np.allclose(ours.losses, theirs.losses, rtol=1e-2)
    assert {(line["use_case"], line["trial"]) for line in lines} == {("city/good", n) for n in (1, 2, 3)}


@pytest.mark.slow
def test_a_search_that_loses_a_worker_finds_the_same(tmp_path):
    uri, killed = write_gold(tmp_path / "gold"), []

    def told(line):
        if (line["trial"], line["epoch"]) == (2, 10) and not killed:
            mine = psutil.Process().children(recursive=True)
            killed.append(next(child for child in mine if "RayTrainWorker" in " ".join(child.cmdline())))
            killed[0].kill()

    options = {"epochs": 40, "checkpoint_steps": 2}
    (whole,) = search_all([make_search(uri, tmp_path / "whole", 3, **options)], 2, Environment())
    (found,) = search_all([make_search(uri, tmp_path / "killed", 3, **options)], 2, Environment(), told)
    assert isinstance(whole, Searched) and isinstance(found, Searched), found
    assert killed and found.trials[1].attempts == 1, "begun again, at another place"
    assert [(t.options, t.losses) for t in found.trials] == [(t.options, t.losses) for t in whole.trials]


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    uri, killed = write_gold(tmp_path / "gold"), []

    def told(line):
        if line["epoch"] == 20 and not killed:
            mine = psutil.Process().children(recursive=True)
            killed.append(next(child for child in mine if "RayTrainWorker" in " ".join(child.cmdline())))
            killed[0].kill()

    options = {"epochs": 60, "checkpoint_steps": 2}
    (whole,) = train_all([make_job(uri, tmp_path / "whole", **options)], 2, Environment())
    (found,) = train_all([make_job(uri, tmp_path / "killed", **options)], 2, Environment(), told)
    assert isinstance(whole, Trained) and isinstance(found, Trained)
    assert killed and found.resumed_from is not None and found.workers == 2
    ours, theirs = (dict(t.bundle.network.named_parameters()) for t in (whole, found))
    assert all(ours[name].equal(theirs[name]) for name in ours), "digit by digit"


@pytest.mark.slow
def test_a_group_goes_on_with_fewer_workers_and_grows_back(tmp_path):
    from ray.cluster_utils import Cluster

    uri, worlds = write_gold(tmp_path / "gold"), []
    job = make_job(uri, tmp_path / "elastic", epochs=700, checkpoint_steps=3)
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": soon}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1)]
    environment = Environment.model_validate({"ray": {"address": cluster.address, "resize": "2s"}})
    record = Path(job.checkpoint)

    def told(line):
        """Takes the second machine away once training runs on both, and gives it back once it runs on one."""
        world = json.loads(_header(record))["world"]
        if not worlds or worlds[-1] != world:
            worlds.append(world)
        if worlds == [2] and line["epoch"] > 5 and nodes:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        if worlds == [2, 1] and not nodes:
            nodes.append(cluster.add_node(num_cpus=1))

    try:
        (found,) = train_all([job], 2, environment, told, fewest=1)
    finally:
        cluster.shutdown()
    assert isinstance(found, Trained), found
    assert worlds == [2, 1, 2] and found.workers == 2
    assert [line["epoch"] for line in found.history] == list(range(1, 701))
    (alone,) = train_all([make_job(uri, tmp_path / "alone", epochs=700)], 0, Environment())
    assert isinstance(alone, Trained)
    ours, theirs = ([line["loss"] for line in t.history] for t in (alone, found))
    assert np.allclose(ours[:50], theirs[:50], rtol=1e-3), "every epoch is made of the same samples"


def _header(checkpoint: Path) -> str:
    """The facts in a checkpoint."""
    content = checkpoint.read_bytes()
    size = int.from_bytes(content[:8], "little")
    return str(json.loads(content[8 : 8 + size])["__metadata__"]["nightmill"])


def _wait_until_gone(session: int) -> None:
    """Workers that outlive their driver for a moment would still write the checkpoint."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        alive = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_text()
                    if os.getsid(int(entry.name)) == session and "RayTrainWorker" in command:
                        alive.append(entry.name)
                except (ProcessLookupError, FileNotFoundError):
                    continue
        if not alive:
            return
        time.sleep(0.5)
    raise AssertionError(f"workers of the killed driver still run: {alive}")
