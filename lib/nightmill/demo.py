"""`nightmill demo`: a small city and plant are simulated, three nights run on them, and what they found is told."""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nightmill.clean import Cleaned
from nightmill.commands import Work
from nightmill.config import Configuration
from nightmill.errors import ConfigError
from nightmill.nightly import Night, Watch, nightly
from nightmill.simulate import Fault, Simulated
from nightmill.tables import headed

log = logging.getLogger(__name__)

USE_CASES = ["city/traffic", "factory/machine_life"]
SIMULATED = ["city/traffic", "city/roads", "city/detectors", "factory/machines", "factory/failures", "factory/floor"]
START = date(2026, 3, 2)
DAYS = 14
"""Simulated days: the first night has the history of eleven."""
NIGHTS = 3
"""Nights that are run, the last ones; in the last one things go wrong."""
FAULTS = ("drift", "wear", "format")


def run(folder: Path, configuration: Configuration, console: Console, watch: Watch) -> None:
    """Runs everything below `folder` (raw drops and lake) and prints what was found.

    Raises what a stage raises, but for what goes wrong on purpose.
    """
    started = time.monotonic()
    _make_room(folder)
    days = [START + timedelta(days=n) for n in range(DAYS)]
    log.info("demo: simulating %d days of a city and a plant into %s", DAYS, folder / "raw")
    simulated = _simulate(configuration, folder, days[-1])
    nights = []
    for day in days[-NIGHTS:]:
        log.info("demo: night of %s", day)
        outcome = nightly(Work(configuration, "nightly", [day]), USE_CASES, watch)
        expected = {f"land data/{fault.data_set}" for fault in simulated.faults if fault.since == day}
        for step, error in outcome.failures.items():
            if step not in expected:
                raise error
        nights.append(outcome.results[str(day)])
    _tell(nights, simulated, folder, console)
    console.print(f"Done in {time.monotonic() - started:.0f} s.")


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


def _simulate(configuration: Configuration, folder: Path, last: date) -> Simulated:
    from nightmill.simulate import simulate

    spark = Work(configuration, "simulate").spark()
    raw, faults = str((folder / "raw").resolve()), dict.fromkeys(FAULTS, last)
    return simulate(spark, raw, start=START, days=DAYS, only=SIMULATED, faults=faults)


def _tell(nights: list[Night], simulated: Simulated, folder: Path, console: Console) -> None:
    said = [*_models(nights, console), *_cleaned(nights, simulated, console)]
    for line in said:
        console.print(line)
    _alarms(nights[-1], simulated.faults, console)
    lake = folder / "lake"
    say = partial(console.print, soft_wrap=True)  # paths are there to be copied
    say("Where to look next:")
    say(f"  report       {lake}/reports/{nights[-1].day}.html   (open it in a browser)")
    say(f"  a prediction .venv/bin/nightmill explain city/traffic --entity det-00001 --lake {lake}")
    say(f"  a use case   .venv/bin/nightmill show factory/machine_life --lake {lake}")
    say(f"  refused      {lake}/quarantine/city/traffic   (Delta; any Delta reader)")
    say(f"  models       .venv/bin/mlflow ui --backend-store-uri sqlite:///{lake}/mlflow.db")
    say("  your system  docs/add-a-system.md")


def _results(nights: list[Night], stage: str) -> list[tuple[str, Any]]:
    return [
        (line.subject, line.result) for night in nights for line in night.lines if line.stage == stage and line.result
    ]


def _models(nights: list[Night], console: Console) -> list[str]:
    """Prints the test part's figures; returns why models were promoted, and how much was predicted."""
    models = headed("use case", "on the test part", "metric", "model", "naive", "better by", title="What it learned")
    said = []
    for name, verdict in _results(nights, "evaluate"):
        figures = {(s.of, s.metric, s.horizon): s.value for s in verdict.scores}
        for (of, metric, horizon), value in figures.items():
            if of == "candidate" and metric != "coverage":
                naive = next(s.of for s in verdict.scores if s.of not in ("candidate", "champion"))
                theirs = figures[naive, metric, horizon]
                steps = "all steps" if horizon is None else f"{horizon} steps ahead"
                shown = (f"{value:.3g}", f"{theirs:.3g} ({naive.replace('_', ' ')})", f"{1 - value / theirs:.0%}")
                models.add_row(name, steps, metric, *shown)
        said.append(f"{name}: {verdict.reason}")
    console.print(models)
    for name, items in _results(nights, "score"):
        for item in items:
            said.append(f"{name}: {item.rows} predictions for {item.entities} entities in the night of {item.day}")
    return said


def _cleaned(nights: list[Night], simulated: Simulated, console: Console) -> list[str]:
    """Prints what became of the records; returns the refusals by rule and the dirt that was planted."""
    found: dict[str, Cleaned] = {}
    for name, item in _results(nights, "clean"):  # a day that late rows reopened counts as it is now
        found.setdefault(name, Cleaned(name)).days.update(item.days)
    data = headed("data set", "parsed", "accepted", "refused", "duplicates", "planted", title="What it cleaned")
    said = []
    for name, cleaned in found.items():
        total = cleaned.total()
        planted = Counter(simulated.dirt.get(name.removeprefix("data/"), {}))
        numbers = (total.parsed, total.accepted, total.refused.total(), total.duplicates, planted.total())
        data.add_row(name, *(f"{number:,}" for number in numbers))
        said += [f"{name}, refused by rule: {_listed(total.refused)}"] if total.refused else []
        said += [f"{name}, planted: {_listed(planted)}"] if planted.total() else []
    console.print(data)
    return said


def _alarms(last: Night, faults: tuple[Fault, ...], console: Console) -> None:
    """Prints what went wrong on purpose, and the alarms of that night."""
    planted = headed("of", "name", "what", title=f"What went wrong on purpose on {last.day}")
    for fault in faults:
        planted.add_row(fault.data_set, fault.name, fault.what)
    console.print(planted)
    alarms = headed("of", "alarm", "part", "what", title=f"Alarms of the night of {last.day}")
    for subject, watched in _results([last], "monitor"):
        for alarm in watched.alarms:
            if alarm.state != "cleared":
                alarms.add_row(subject, alarm.figure.kind, alarm.figure.slice, alarm.figure.what)
    console.print(alarms)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.most_common() if n)
