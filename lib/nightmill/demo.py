"""`nightmill demo`: a small city and plant are simulated, two nights run on them, and what they found is told."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nightmill import commands
from nightmill.commands import Outcome, Work
from nightmill.config import Configuration
from nightmill.errors import ConfigError, WorkFailed
from nightmill.tables import headed

log = logging.getLogger(__name__)

USE_CASES = ["city/traffic", "factory/machine_life"]
SIMULATED = ["city/traffic", "city/roads", "city/detectors", "factory/machines", "factory/failures"]
START = date(2026, 3, 2)
DAYS = 14
"""Simulated days; the nights of the last two are run."""


@dataclass
class Story:
    """What the demo did, for its last table."""

    judged: Outcome
    planted: dict[str, dict[str, int]]
    cleaned: dict[str, Any]
    seconds: float


def run(folder: Path, configuration: Configuration, env: str, console: Console) -> None:
    """Runs everything below `folder` (raw drops and lake) and prints what was found; raises what a stage raises."""
    started = time.monotonic()
    _make_room(folder)
    first, second = START + timedelta(days=DAYS - 2), START + timedelta(days=DAYS - 1)
    log.info("demo: simulating %d days of a city and a plant into %s", DAYS, folder / "raw")
    planted = _simulate(configuration, folder)
    log.info("demo: night of %s, with %d days of history", first, DAYS - 2)
    cleaned = _prepare(configuration, [START + timedelta(days=n) for n in range(DAYS - 1)])
    _train(configuration, env)
    judged = _checked(commands.evaluate(Work(configuration, "evaluate"), USE_CASES))
    _checked(commands.score(Work(configuration, "score", [first]), USE_CASES))
    log.info("demo: night of %s", second)
    for name, item in _prepare(configuration, [second]).items():
        for day, counts in item.days.items():  # a day that late rows reopened counts as it is now
            cleaned[name].days[day] = counts
    scored = _checked(commands.score(Work(configuration, "score", [second]), USE_CASES))
    _tell(Story(judged, planted, cleaned, time.monotonic() - started), scored, folder, console)


def _make_room(folder: Path) -> None:
    """Removes a former demo, whose second night the first one must not know; refuses a folder of anything else."""
    mark = folder / ".nightmill-demo"
    if mark.exists():
        for name in ("raw", "lake"):
            shutil.rmtree(folder / name, ignore_errors=True)
    elif folder.is_dir() and any(folder.iterdir()):
        raise ConfigError("the demo's folder holds something else", where=str(folder), fix="pass another --folder")
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _simulate(configuration: Configuration, folder: Path) -> dict[str, dict[str, int]]:
    from nightmill.simulate import simulate

    spark = Work(configuration, "simulate").spark()
    return simulate(spark, str((folder / "raw").resolve()), start=START, days=DAYS, only=SIMULATED).dirt


def _prepare(configuration: Configuration, days: list[date]) -> dict[str, Any]:
    for stage in (commands.land, commands.clean, commands.features):
        outcome = _checked(stage(Work(configuration, stage.__name__, days), USE_CASES))
        if stage is commands.clean:
            cleaned = outcome.results
    return cleaned


def _train(configuration: Configuration, env: str) -> None:
    """In a process of its own, as a night does: Spark's memory and Ray's stay apart."""
    lake = str(Path(configuration.environment.lake).resolve())
    command = [sys.executable, "-m", "nightmill", "train", *USE_CASES, "--lake", lake, "--json"]
    command += ["--conf", str(configuration.folder.resolve()), "--env", env]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode != 0:
        raise WorkFailed("the demo's training failed", where=" ".join(command[1:]), fix="run it again with --debug")


def _checked(outcome: Outcome) -> Outcome:
    for error in outcome.failures.values():
        raise error
    return outcome


def _tell(story: Story, scored: Outcome, folder: Path, console: Console) -> None:
    models = headed("use case", "on the test part", "metric", "model", "naive", "better by", title="What it learned")
    for name, verdict in story.judged.results.items():
        figures = {(s.of, s.metric, s.horizon): s.value for s in verdict.scores}
        for (of, metric, horizon), value in figures.items():
            if of == "candidate" and metric != "coverage":
                naive = next(s.of for s in verdict.scores if s.of not in ("candidate", "champion"))
                theirs = figures[naive, metric, horizon]
                steps = "all steps" if horizon is None else f"{horizon} steps ahead"
                shown = (f"{value:.3g}", f"{theirs:.3g} ({naive.replace('_', ' ')})", f"{1 - value / theirs:.0%}")
                models.add_row(name, steps, metric, *shown)
    console.print(models)
    data = headed("data set", "parsed", "accepted", "refused", "duplicates", "planted", title="What it cleaned")
    said = []
    for name, cleaned in story.cleaned.items():
        total = cleaned.total()
        planted = Counter(story.planted.get(name.removeprefix("data/"), {}))
        numbers = (total.parsed, total.accepted, total.refused.total(), total.duplicates, planted.total())
        data.add_row(name, *(f"{number:,}" for number in numbers))
        said += [f"{name}, refused by rule: {_listed(total.refused)}"] if total.refused else []
        said += [f"{name}, planted: {_listed(planted)}"] if planted.total() else []
    console.print(data)
    for line in said:
        console.print(line)
    for name, items in scored.results.items():
        item = items[-1]
        console.print(f"{name}: {item.rows} predictions for {item.entities} entities, made in the night of {item.day}")
    for name, verdict in story.judged.results.items():
        console.print(f"{name}: {verdict.reason}")
    lake = folder / "lake"
    say = partial(console.print, soft_wrap=True)  # paths are there to be copied
    say(f"Done in {story.seconds:.0f} s. Where to look next:")
    say(f"  predictions  {lake}/predictions/city/traffic   (Delta; any Delta reader)")
    say(f"  refused      {lake}/quarantine/city/traffic")
    say(f"  events       {lake}/ops/runs, ops/lineage, ops/metrics, ops/promotions")
    say(f"  models       .venv/bin/mlflow ui --backend-store-uri sqlite:///{lake}/mlflow.db")
    say("  your system  docs/add-a-system.md")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.most_common() if n)
