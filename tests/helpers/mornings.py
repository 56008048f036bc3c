"""A lake as some nights leave it, of any size, written without Spark: what the morning report is tested on.

A city whose northern detectors drift, a plant in which one machine degrades, and a river whose file changed its format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from nightmill.config import Configuration, DataSet, UseCase
from nightmill.lake.ops import append
from nightmill.lake.quarantine import SCHEMA as QUARANTINE
from nightmill.lake.tables import Lake
from nightmill.score.table import SCHEMA

NIGHT = date(2026, 3, 5)
HORIZON = 6
CONFIGURATION = {
    "base.yaml": "lake: lake\n",
    "env/local.yaml": "extends: ../base.yaml\n",
    "data/city/detectors.yaml": """
title: Loop detectors, where each stands
source: {format: csv, path: "${raw}/detectors.csv"}
contract:
  key: [detector]
  columns: {x: {unit: km}, y: {unit: km}, district: {type: text}}
place: {x: x, y: y, area: district}
""",
    "data/city/roads.yaml": """
title: Roads between detectors
source: {format: csv, path: "${raw}/roads.csv"}
contract: {key: [from, to], columns: {weight: {unit: "1"}}}
""",
    "data/city/traffic.yaml": """
title: Loop detectors, half hours
source: {format: csv, path: "${raw}/traffic/{day}/*.csv"}
contract:
  key: [detector, ts]
  time: {column: ts, every: 30 min, zone: Europe/Berlin}
  columns: {speed: {unit: km/h, between: [0, 200]}}
""",
    "data/city/river.yaml": """
title: River gauges, hourly
source: {format: csv, path: "${raw}/river/{day}/*.csv"}
contract:
  key: [gauge, ts]
  time: {column: ts, every: 1 h, zone: UTC}
  columns: {level: {unit: m}}
""",
    "data/factory/machines.yaml": """
title: Machine sensors, hourly
source: {format: parquet, path: "${raw}/machines/{day}/*.parquet"}
contract:
  key: [machine, ts]
  time: {column: ts, every: 1 h, zone: UTC}
  columns: {vibration: {unit: mm/s}, x: {unit: m}, y: {unit: m}, hall: {type: text}}
place: {x: x, y: y, area: hall}
""",
    "data/factory/failures.yaml": """
title: Failures
source: {format: csv, path: "${raw}/failures/{day}/*.csv"}
contract: {key: [machine, ts], time: {column: ts, every: 1 h}}
""",
    "city/traffic.yaml": """
title: Traffic speed, half an hour to three hours ahead
task: forecast
inputs:
  speed: data/city/traffic
  roads: {from: data/city/roads, as: graph}
  detectors: {from: data/city/detectors, as: static}
target: {column: speed, horizon: 6}
features: [{columns: [speed]}]
model: {family: stid, window: 4}
evaluate: {metrics: [mae, rmse], baselines: [last_value, time_of_day_mean], at: [1, 6]}
monitor: {by: [detectors.district]}
""",
    "city/river.yaml": """
title: River level, three hours ahead
task: forecast
inputs: {level: data/city/river}
target: {column: level, horizon: 3}
features: [{columns: [level]}]
model: {family: mlp, window: 4}
""",
    "factory/machine_life.yaml": """
title: Hours that each machine will still run
task: regress
inputs:
  sensors: data/factory/machines
  failures: {from: data/factory/failures, as: events}
target: {remaining_life: {cap: 120, until: failures}}
features: [{columns: [vibration]}]
model: {family: lstm, window: 24}
evaluate: {metrics: [rmse, mae], baselines: [mean_life]}
monitor: {below: 24}
""",
}
GOLD = pa.schema(
    [("entity", pa.string()), ("ts", pa.timestamp("us", "UTC")), ("day", pa.date32()), ("target", pa.float32())]
)
DESCRIPTION = {
    "options": {"family": "stid"},
    "gold": {"version": 4, "files": [["a", 1, [1]]], "last": round(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1e6)},
    "interval": {"share": 0.8},
}


@dataclass
class Models:
    """Stands for the registry: what it says of every version."""

    uri: str = "http://mlflow"
    broken: bool = False

    def load(self, use_case: str, version: int) -> dict[str, bytes]:
        if self.broken:
            raise OSError("the server is down")
        return {"model.json": json.dumps(DESCRIPTION).encode()}

    def curves(self, use_case: str, version: int, names: tuple[str, ...]) -> dict[str, list[tuple[int, float]]]:
        if self.broken:
            raise OSError("the server is down")
        return {name: [(n, 0.8 / (n + 1) + 0.05 * k + 0.2) for n in range(8)] for k, name in enumerate(names)}


@dataclass
class Mornings:
    """A lake after the night of `NIGHT`."""

    folder: Path
    detectors: int = 40
    machines: int = 24
    nights: int = 4
    models: Models = field(default_factory=Models)
    events: dict[Any, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(5)
        for name, text in CONFIGURATION.items():
            path = self.folder / "conf" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.lake = Lake.open(str(self.folder / "lake"))
        self.configuration = Configuration.load(self.folder / "conf")
        self.days = [NIGHT - timedelta(days=n) for n in range(self.nights - 1, -1, -1)]
        self.detector = [str(n) for n in range(100, 100 + self.detectors)]
        self.place = self.random.normal(0, 4, (self.detectors, 2))
        east, north = self.place.T
        self.district = np.where(north > 2, "Nord", np.where(east > 0, "Ost", "West"))

    def use_cases(self) -> list[tuple[UseCase, dict[str, DataSet]]]:
        cases = [self.configuration.use_case(name) for name in self.configuration.use_case_names()]
        return [(one, self.configuration.inputs(one)) for one in cases]

    def data_sets(self) -> list[DataSet]:
        return [self.configuration.data_set(name) for name in self.configuration.data_set_names()]

    def written(self) -> Mornings:
        """All of it."""
        self.city(), self.plant(), self.river(), self.night(), self.watched()
        return self.kept()

    def kept(self) -> Mornings:
        """Writes the events that were told."""
        for table, rows in self.events.items():
            append(self.lake, table, rows)
        self.events.clear()
        return self

    # tables

    def write(self, layer: Any, name: str, data: pa.Table, **options: Any) -> None:
        write_deltalake(self.lake.table(layer, name).uri, data, mode="append", **options)

    def city(self) -> None:
        x, y = self.place.T
        spots = {"detector": self.detector, "x": x, "y": y, "district": self.district}
        self.write("silver", "city/detectors", pa.table(spots))
        near = np.argsort(((self.place[:, None] - self.place[None]) ** 2).sum(2), axis=1)[:, 1:3] if (
            self.detectors <= 2000
        ) else (np.arange(self.detectors)[:, None] + [[1, 2]]) % self.detectors  # fmt: skip
        pairs = [(self.detector[a], self.detector[b]) for a in range(self.detectors) for b in near[a]]
        self.write("silver", "city/roads", pa.table({"from": [a for a, _ in pairs], "to": [b for _, b in pairs]}))
        start = _utc(self.days[0]) - timedelta(days=1)
        steps = np.arange((self.nights + 1) * 48)
        base = 55 + 15 * self.random.random(self.detectors)[:, None]
        rush = 18 * np.exp(-(((steps % 48) - 16) ** 2) / 10) + 22 * np.exp(-(((steps % 48) - 35) ** 2) / 14)
        speed = base - rush + self.random.normal(0, 2, (self.detectors, len(steps)))
        speed[np.ix_(self.district == "Nord", steps >= self.nights * 48)] += 25  # its sensors drift on the last day
        self._gold("city/traffic", self.detector, start, timedelta(minutes=30), speed)
        for number, day in enumerate(self.days):
            origin = (number + 2) * 48 - 1 - HORIZON
            ahead = np.arange(1, HORIZON + 1)
            value = speed[:, origin, None] * 0.4 + (base - rush[None, :])[:, origin + ahead] * 0.6
            wide = 3 + 0.8 * ahead
            at = start + int(origin) * timedelta(minutes=30)
            self._predict("city/traffic", day, self.detector, at, timedelta(minutes=30), ahead, value, wide)

    def plant(self) -> None:
        names = [f"M{n:02}" for n in range(self.machines)]
        self.machine = names
        rows = {
            "machine": names,
            "ts": [_utc(NIGHT)] * len(names),
            "day": [NIGHT] * len(names),
            "vibration": self.random.random(len(names)),
        }
        hall = [f"Hall {1 + n // 12}" for n in range(len(names))]
        rows |= {"x": [8.0 * (n % 6) + 60 * (n // 24) for n in range(len(names))], "hall": hall}
        rows |= {"y": [7.0 * (n % 12 // 6) + 30.0 * (n // 12 % 2) for n in range(len(names))]}
        self.write("silver", "factory/machines", pa.table(rows))
        life = 30 + 90 * self.random.random(len(names))
        life[7 % len(names)] = 24 + self.nights * 12
        for day in self.days:
            life = life - 14
            value = np.maximum(life, 3.0)[:, None]
            at = _utc(day) + timedelta(hours=23)
            step = timedelta(hours=1)
            self._predict("factory/machine_life", day, names, at, step, np.zeros(1, int), value, np.array([9.0]))
            life = np.where(life < 12, 110.0, life)
        life_left = np.full((len(names), 1), np.nan)
        life_left[:3] = 80
        self._gold("factory/machine_life", names, _utc(self.days[0]) + timedelta(hours=23), step, life_left)

    def river(self) -> None:
        self._gold("city/river", ["g1"], _utc(self.days[0]), timedelta(hours=1), np.ones((1, 24)))
        row = dict.fromkeys(QUARANTINE.names) | {"day": NIGHT, "stage": "land", "rule": "columns", "_file": "g1.csv"}
        row |= {"reason": "the file lacks column 'level': its header is gauge;ts;pegel", "run_id": "run-4"}
        self.write("quarantine", "city/river", pa.Table.from_pylist([row], schema=QUARANTINE))

    def _gold(self, name: str, entities: list[str], start: datetime, every: timedelta, values: Any) -> None:
        many, steps = values.shape
        ts = np.tile(np.datetime64(start.replace(tzinfo=None), "us") + np.arange(steps) * np.timedelta64(every), many)
        columns = [np.repeat(entities, steps), ts, ts.astype("datetime64[D]"), values.ravel().astype("float32")]
        arrays = [pa.array(c).cast(f.type) for c, f in zip(columns, GOLD)]
        self.write("gold", name, pa.Table.from_arrays(arrays, schema=GOLD))

    def _predict(
        self,
        name: str,
        day: date,
        entities: list[str],
        at: datetime,
        every: timedelta,
        ahead: Any,
        value: Any,
        wide: Any,
    ) -> None:
        many, origin = len(entities), np.datetime64(at.replace(tzinfo=None), "us")
        rows = many * len(ahead)
        columns: dict[str, Any] = {
            "entity": np.repeat(entities, len(ahead)),
            "ts": np.full(rows, origin),
            "horizon": np.tile(ahead, many),
            "target_ts": np.tile(origin + ahead * np.timedelta64(every), many),
            "value": value.ravel(),
            "lo": (value - wide).ravel(),
            "hi": (value + wide).ravel(),
            "day": np.full(rows, np.datetime64(day)),
            "model_version": np.full(rows, 3),
        }
        arrays = [
            pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in SCHEMA
        ]
        self.write("predictions", name, pa.Table.from_arrays(arrays, schema=SCHEMA), partition_by=["day"])

    # ops

    def told(self, ops: Any, step: str, subject: str, event: str, day: date = NIGHT, **more: Any) -> None:
        at = _utc(day) + timedelta(days=1, hours=2)
        row = {"run_id": f"run-{day.day}", "step": step, "subject": subject, "event": event, "at": at, "day": day}
        self.events.setdefault(ops, []).append(row | more)

    def line(self, stage: str, subject: str, state: str, what: str, seconds: float, fix: str = "") -> dict[str, Any]:
        return {"stage": stage, "subject": subject, "state": state, "what": what, "seconds": seconds, "fix": fix}

    def night(self) -> None:
        """What ran, what was refused, and how models were judged."""
        lines = [
            self.line("land", "data/city/traffic", "done", "51,840 records of 12 files", 8.2),
            self.line("clean", "data/city/traffic", "done", "51,002 of 51,840 records accepted on 1 days", 14.9),
            self.line("monitor", "data/city/traffic", "done", "4 figures, 0 alarms", 0.3),
            self.line("land", "data/city/detectors", "nothing", "all files had landed before", 0.4),
            self.line("land", "data/city/river", "failed", "no file of the drop of 2026-03-05 can be read", 1.1)
            | {"fix": "correct the file and drop it again, or change the contract"},
            self.line("clean", "data/city/river", "skipped", "because of land data/city/river", 0.0),
            self.line("features", "city/river", "skipped", "because of clean data/city/river", 0.0),
            self.line("score", "city/river", "skipped", "because of features city/river", 0.0),
            self.line("land", "data/factory/machines", "done", "576 records of 1 files", 3.0),
            self.line("clean", "data/factory/machines", "done", "570 of 576 records accepted on 1 days", 4.0),
            self.line("features", "city/traffic", "done", "2 days made, 11,520 rows in all", 12.0),
            self.line("train", "city/traffic", "done", "candidate 4, because it is trained weekly", 184.0),
            self.line(
                "evaluate", "city/traffic", "done", "version 4 is not promoted: mae 3.41 is not below 3.21", 9
            ),
            self.line("score", "city/traffic", "done", "240 predictions by model 3 for 2026-03-05", 6.5),
            self.line("monitor", "city/traffic", "done", "23 figures, 2 alarms, 1 new", 1.4),
            self.line("features", "factory/machine_life", "done", "1 days made, 576 rows in all", 3.2),
            self.line("score", "factory/machine_life", "done", "24 predictions by model 3 for 2026-03-05", 2.9),
            self.line("monitor", "factory/machine_life", "done", "3 figures, 1 alarms, 1 new", 0.5),
        ]  # fmt: skip
        detail = json.dumps({"day": str(NIGHT), "seconds": 263.4, "lines": lines})
        self.told("runs", "nightly", "nightly", f"night {NIGHT}", detail=detail, status="")
        for number in range(15):
            day, off = NIGHT - timedelta(days=number), int(self.random.integers(0, 900))
            fates = [("parsed", "", 51_840 - off), ("accepted", "", 51_002 - off), ("duplicate", "", 120)]
            fates += [("refused", "range", 600), ("refused", "stuck", 118)]
            for fate, rule, records in fates:
                more = {"file": "a.csv", "fate": fate, "rule": rule, "records": records}
                self.told("records", "clean", "data/city/traffic", f"{fate} {rule}", day, **more)
        for fate, records in (("parsed", 576), ("accepted", 570), ("duplicate", 6)):
            more = {"file": "a.csv", "fate": fate, "rule": "", "records": records}
            self.told("records", "clean", "data/factory/machines", fate, **more)
        reasons = {"range": "speed 214.0 is not between 0 and 200", "stuck": "speed has been 37.0 since 04:00"}
        rows = [
            dict.fromkeys(QUARANTINE.names)
            | {"day": NIGHT, "stage": "clean", "rule": rule, "reason": why, "original": "secret"}
            for rule, why in reasons.items()
        ]
        self.write("quarantine", "city/traffic", pa.Table.from_pylist(rows, schema=QUARANTINE))
        for of, mae in (("candidate", 3.41), ("champion", 3.21), ("last_value", 5.6), ("time_of_day_mean", 4.4)):
            for horizon, factor in ((None, 1.0), (1, 0.6), (6, 1.5)):
                name = {"of": of, "horizon": horizon, "model_version": 4}
                for metric, more in (("mae", 1.0), ("rmse", 1.6)):
                    event = f"{metric} {of} {horizon}"
                    value = mae * factor * more
                    self.told("metrics", "evaluate", "city/traffic", event, metric=metric, value=value, **name)
        for subject in ("city/traffic", "factory/machine_life"):
            why = "version 3 is promoted: mae 3.21 (last value 5.6)"
            self.told("promotions", "evaluate", subject, "promoted", self.days[0], model_version=3, reason=why)
        chain = [
            ("score", "city/traffic", "read", "gold/city/traffic", 7),
            ("score", "city/traffic", "wrote", "predictions/city/traffic", 9),
            ("features", "city/traffic", "wrote", "gold/city/traffic", 7),
            ("features", "city/traffic", "read", "silver/city/traffic", 5),
            ("clean", "data/city/traffic", "wrote", "silver/city/traffic", 5),
            ("clean", "data/city/traffic", "read", "bronze/city/traffic", 4),
            ("land", "data/city/traffic", "wrote", "bronze/city/traffic", 4),
        ]  # fmt: skip
        for step, subject, direction, table, version in chain:
            more = {"direction": direction, "table": table, "version": version}
            self.told("lineage", step, subject, f"{direction} {table}", **more)
        for number in range(12):
            more = {"table": "t", "version": 4, "file": f"a{number}.csv", "hash": "h"}
            self.told("files", "land", "data/city/traffic", f"4 a{number}.csv", **more)

    def watched(self) -> None:
        """Live errors and alarms."""
        for number in range(14, 0, -1):
            day, error = NIGHT - timedelta(days=number), 3.1 + 0.4 * float(self.random.random())
            self.live(day, error * (1.9 if number == 1 else 1))
        self.alarm("city/traffic", "error", "detectors.district=Nord", "raised", 2.4, 1.5,
                   "mean absolute error 7.9 on 2026-03-04, 3.3 is usual")  # fmt: skip
        self.alarm("city/traffic", "drift", "detectors.district=Nord", "stays", 0.9, 0.25,
                   "speed of 2026-03-05 is spread unlike the week before", since=NIGHT - timedelta(days=1))  # fmt: skip
        self.alarm("factory/machine_life", "level", "", "raised", 1, 0.5, "remaining_life: M07 16.2")
        what = "1 files of 2026-03-05 are refused: g1.csv: the file lacks column 'level'"
        self.alarm("data/city/river", "unreadable", "", "raised", 1, 0.5, what)
        over = "718 of 51,840 records of 2026-03-05 are refused"
        self.alarm("data/city/traffic", "refused", "", "cleared", 0.014, 0.05, over, since=NIGHT - timedelta(days=6))

    def live(self, day: date, error: float) -> None:
        rows: list[tuple[str, str, int | None, str, float]] = [
            ("live", "mae", None, "", error),
            ("live last_value", "mae", None, "", 5.4),
            ("live", "coverage", None, "", 0.79),
            *[("live", "mae", h, "", error * (0.5 + h / 6)) for h in range(1, HORIZON + 1)],
            *[("live", "mae", None, f"detectors.district={d}", error * (2 if d == "Nord" and error > 5 else 1))
              for d in ("Nord", "Ost", "West")],
        ]  # fmt: skip
        for of, metric, horizon, where, value in rows:
            more = {"of": of, "metric": metric, "horizon": horizon, "slice": where, "value": value}
            self.told("metrics", "monitor", "city/traffic", f"{metric} {of} {where} {horizon} {day}", day, **more)

    def alarm(
        self,
        subject: str,
        kind: str,
        where: str,
        state: str,
        value: float,
        limit: float,
        what: str,
        since: date = NIGHT,
    ) -> None:
        more = {"kind": kind, "slice": where, "state": state, "value": value, "limit": limit, "what": what}
        self.told("alarms", "monitor", subject, f"{kind} {where} {NIGHT}", since=since, calm=0, **more)


def _utc(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
