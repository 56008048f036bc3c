"""A town with three detectors: its configuration, its raw drops and its lake, small enough to check in the head."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from nightmill import commands
from nightmill.commands import Outcome, Work
from nightmill.config import Configuration

DATA_SET = """
title: Speeds
source: {format: csv, path: "${raw}/speeds/{day}/*.csv", missing: [NA]}
contract:
  key: [detector, ts]
  time: {column: ts, every: 30 min, zone: Europe/Berlin, format: "yyyy-MM-dd HH:mm:ss"}
  columns:
    speed: {type: float, unit: km/h, between: [0, 200], required: true}
clean: {max_refused: 50 %}
"""
ROADS = """
title: Roads
source: {format: csv, path: "${raw}/roads.csv"}
contract:
  key: [from, to]
  columns: {weight: {type: float, unit: "1", between: [0, 1], required: true}}
"""
USE_CASE = """
title: Speed one and two steps ahead
task: forecast
inputs: {speed: data/town/speeds, roads: {from: data/town/roads, as: graph}}
target: {column: speed, horizon: 2}
features:
  - columns: [speed]
  - neighbours: {of: speed, over: roads, along: [out, in, two_hops]}
  - network_mean: speed
  - calendar: [minute_of_week, weekend]
model: {family: stid, window: 4, hidden: 8, blocks: 1, embedding: 4, slots: 4, dropout: 0 %}
train: {epochs: 2, batch: 64, workers: 0, learning_rate: 0.01}
evaluate: {split: {time: {validation: 20 %, test: 20 %}}, metrics: [mae], baselines: [last_value, time_of_day_mean]}
"""
CONFIGURATION = {
    "base.yaml": "lake: lake\n",
    "env/local.yaml": "extends: ../base.yaml\n",
    "data/town/speeds.yaml": DATA_SET,
    "data/town/roads.yaml": ROADS,
    "town/speeds.yaml": USE_CASE,
}
FIRST = date(2026, 3, 2)
HEADER = "detector,ts,speed"


@dataclass
class Town:
    """Writes drops and runs commands in one temporary folder."""

    folder: Path

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    def configuration(self, *sets: str) -> Configuration:
        return Configuration.load(self.folder / "conf", sets=sets, raw=str(self.raw), lake=str(self.lake))

    def work(self, command: str, *days: date, sets: tuple[str, ...] = ()) -> Work:
        return Work(self.configuration(*sets), command, list(days))

    def drop(self, day: date, lines: list[str], name: str = "a.csv", header: str = HEADER) -> Path:
        """Writes one raw file of a day's drop."""
        path = self.raw / "speeds" / day.isoformat() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    def history(self, days: int) -> list[date]:
        """Drops of several whole days of three detectors, and the roads between them."""
        found = [FIRST + timedelta(days=n) for n in range(days)]
        for day in found:
            self.drop(day, readings(day))
        (self.raw / "roads.csv").write_text("from,to,weight\na,b,1\nb,c,0.5\nb,a,0.5\nc,c,1\n")
        return found

    def stages(self, *names: str, days: tuple[date, ...] = (), sets: tuple[str, ...] = ()) -> dict[str, Outcome]:
        """Runs stages for the use case town/speeds; a failure of any is raised."""
        found = {}
        for name in names:
            work = self.work(name, *days, sets=sets)
            more = (lambda _: None,) if name == "train" else ()
            found[name] = getattr(commands, name)(work, ["town/speeds"], *more)
            for error in found[name].failures.values():
                raise error
        return found

    def table(self, layer: str, name: str = "town/speeds") -> pa.Table:
        return self.work("read").lake.table(layer, name).delta().to_pyarrow_table()  # type: ignore[arg-type]

    def rows(self, layer: str, name: str = "town/speeds", drop: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """All rows of a table but for provenance columns, in a fixed order."""
        provenance = {"_landed_at", "run_id", "scored_at", "model_version", "feature_version", *drop}
        rows = [{k: v for k, v in row.items() if k not in provenance} for row in self.table(layer, name).to_pylist()]
        return sorted(rows, key=lambda row: str(sorted(row.items())))


def readings(day: date, detectors: str = "abc", speed: float = 50.0) -> list[str]:
    """One line per detector and half hour of a day."""
    start = datetime(day.year, day.month, day.day)
    return [
        f"{d},{start + timedelta(minutes=30 * n):%Y-%m-%d %H:%M:%S},{speed + 10 * i + (n * 7 + i) % 11}"
        for i, d in enumerate(detectors)
        for n in range(48)
    ]


def found(folder: Path) -> Town:
    """A town with its configuration and an empty raw folder."""
    for name, text in CONFIGURATION.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "raw").mkdir()
    return Town(folder)
