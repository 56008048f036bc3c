"""Features and targets that look along time: event history, what happens soon, rolling figures and lags."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pyspark.sql import SparkSession
from town import FIRST, Town, found, readings

from nightmill import commands
from nightmill.metrics import pr_auc

pytestmark = pytest.mark.usefixtures("spark")
STAGES = (commands.land, commands.clean, commands.features)
REPAIRS = """
title: Repairs
source: {format: csv, path: "${raw}/repairs/{day}/*.csv", may_be_empty: true}
contract:
  key: [machine, part, ts]
  time: {column: ts, every: 1 h, zone: UTC, format: "yyyy-MM-dd HH:mm:ss"}
"""
ALARMS = """
title: Alarms
source: {format: csv, path: "${raw}/alarms/{day}/*.csv", may_be_empty: true}
contract:
  key: [machine, code, ts]
  time: {column: ts, every: 1 h, zone: UTC, format: "yyyy-MM-dd HH:mm:ss"}
"""
SITES = """
title: Sites
source: {format: csv, path: "${raw}/sites.csv"}
contract:
  key: [machine]
  columns: {age: {unit: year}, hall: {type: text}}
"""
FLEET = """
title: Which parts are repaired tomorrow
task: classify
inputs:
  parts: {from: data/town/repairs, every: 3 h}
  repairs: {from: data/town/repairs, as: events}
  alarms: {from: data/town/alarms, as: events}
  sites: {from: data/town/sites, as: static}
target: {event: {of: repairs, within: 24 h}}
features:
  - events: {of: alarms, by: code, values: [hot, loud], within: [6 h, 48 h], since: 3 d}
  - events: {of: repairs, since: 2 d}
  - events: {of: alarms, within: [24 h]}
  - columns: [sites.age]
  - categories: {of: sites.hall, values: [north, south]}
  - categories: {of: part, values: [pump, belt]}
model: {family: trees, window: 1, entity: false}
train: {epochs: 3, workers: 0, loss: bce}
evaluate: {split: {time: {validation: 2 d, test: 3 d}}, metrics: [pr_auc, f1], by: part, baselines: [mean], seeds: 1}
"""
ROLLING = """
title: Speed of now
task: regress
inputs: {speed: data/town/speeds}
target: {column: speed}
features:
  - rolling: {of: [load], over: [2 h, 1 d], take: [mean, std, min, max, slope]}
  - lag: {of: [load], by: [30 min, 24 h]}
model: {family: trees, window: 1}
train: {workers: 0}
evaluate: {baselines: [mean]}
"""
DAYS = [FIRST + timedelta(days=n) for n in range(12)]
HALLS = {"m1": ("north", 3), "m2": ("south", 8), "m3": ("", "")}


class Fleet:
    """Machines whose parts are repaired now and then, and what they report."""

    def __init__(self, folder: Path) -> None:
        self.town = found(folder)
        conf = self.town.folder / "conf"
        for name, text in {"repairs": REPAIRS, "alarms": ALARMS, "sites": SITES}.items():
            (conf / f"data/town/{name}.yaml").write_text(text)
        (conf / "town/fleet.yaml").write_text(FLEET)
        draws = np.random.default_rng(3)
        self.repairs = self._drawn(draws, 40, ("pump", "belt"))
        self.alarms = self._drawn(draws, 90, ("hot", "loud", "odd"))
        for day in DAYS:
            self._drop("repairs", "part", day, self.repairs)
            self._drop("alarms", "code", day, self.alarms)
        lines = [f"{machine},{age},{hall}" for machine, (hall, age) in HALLS.items()]
        (self.town.raw / "sites.csv").write_text("\n".join(["machine,age,hall", *lines]))

    @staticmethod
    def _drawn(draws: np.random.Generator, count: int, whats: tuple[str, ...]) -> list[tuple[str, str, datetime]]:
        start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
        hours = sorted({int(hour) for hour in draws.integers(2, len(DAYS) * 24, count) if hour // 24 != 6})
        return [(f"m{draws.integers(1, 4)}", str(draws.choice(whats)), start + timedelta(hours=hour)) for hour in hours]

    def _drop(self, name: str, what: str, day: date, events: list[tuple[str, str, datetime]]) -> None:
        path = self.town.raw / name / day.isoformat() / "a.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{m},{w},{at:%Y-%m-%d %H:%M:%S}" for m, w, at in events if at.date() == day]
        path.write_text("\n".join([f"machine,{what},ts", *lines]) + "\n")

    def night(self, *days: date) -> None:
        for stage in STAGES:
            for error in stage(self.town.work(stage.__name__, *days), ["town/fleet"]).failures.values():
                raise error

    def gold(self) -> dict[tuple[str, datetime], dict[str, Any]]:
        return {(r["entity"], r["ts"]): r for r in self.town.table("gold", "town/fleet").to_pylist()}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    fleet.night(*DAYS)
    return fleet


def _hours(events: list[datetime], at: datetime, longest: float) -> float:
    return min([longest, *((at - event).total_seconds() / 3600 for event in events if event <= at)])


def test_each_entity_has_a_row_at_every_step_from_its_first_record_to_the_last_of_all(fleet: Fleet) -> None:
    every, begun = timedelta(hours=3), max(fleet.repairs[0][2], fleet.alarms[0][2])
    end = max(fleet.repairs[-1][2], fleet.alarms[-1][2])
    midnight = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    steps = [midnight + n * every for n in range(len(DAYS) * 8)]
    first: dict[str, datetime] = {}
    for machine, part, at in fleet.repairs:
        first.setdefault(f"{machine}/{part}", at)
    wanted = {(e, ts) for e, born in first.items() for ts in steps if max(born, begun) <= ts <= end}
    assert fleet.gold().keys() == wanted and len(first) == 6


def test_steps_of_a_day_are_local_days_where_clocks_change(tmp_path: Path) -> None:
    town, zone = found(tmp_path), ZoneInfo("Europe/Berlin")
    (town.folder / "conf/data/town/repairs.yaml").write_text(REPAIRS.replace("zone: UTC", "zone: Europe/Berlin"))
    case = FLEET.replace("every: 3 h", "every: 1 d").replace("  alarms: {from: data/town/alarms, as: events}\n", "")
    case = case.replace("  sites: {from: data/town/sites, as: static}\n", "")
    wanted = ("of: repairs, since", "of: part")
    lines = [line for line in case.splitlines() if not line.startswith("  - ") or any(text in line for text in wanted)]
    (town.folder / "conf/town/fleet.yaml").write_text("\n".join(lines))
    days = [date(2026, 3, n) for n in range(27, 32)]
    for day in days:
        path = town.raw / "repairs" / day.isoformat() / "a.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"machine,part,ts\nm1,pump,{day} 00:00:00\n")
    for stage in STAGES:
        assert not stage(town.work(stage.__name__, *days), ["town/fleet"]).failures
    rows = town.table("gold", "town/fleet").to_pylist()
    assert sorted(row["ts"] for row in rows) == [datetime(d.year, d.month, d.day, tzinfo=zone) for d in days]


def test_event_history_equals_a_plain_count(fleet: Fleet) -> None:
    for (entity, ts), row in fleet.gold().items():
        machine, part = entity.split("/")
        own = [at for m, p, at in fleet.repairs if (m, p) == (machine, part)]
        every = [at for m, _, at in fleet.alarms if m == machine]
        assert row["repairs_since"] == pytest.approx(_hours(own, ts, 48), rel=1e-6)
        assert row["alarms_1d"] == sum(ts - timedelta(hours=24) < at <= ts for at in every)
        for code in ("hot", "loud"):
            some = [at for m, c, at in fleet.alarms if (m, c) == (machine, code)]
            assert row[f"alarms_{code}_since"] == pytest.approx(_hours(some, ts, 72), rel=1e-6)
            for name, span in (("6h", 6), ("2d", 48)):
                assert row[f"alarms_{code}_{name}"] == sum(ts - timedelta(hours=span) < at <= ts for at in some)


def test_what_an_entity_is_comes_from_the_static_input(fleet: Fleet) -> None:
    for (entity, _), row in fleet.gold().items():
        machine, part = entity.split("/")
        hall, age = HALLS[machine]
        assert row["sites_age"] == (age or None)
        assert row["sites_hall_north"] == ((hall == "north") if hall else None)
        assert (row["part_pump"], row["part_belt"]) == (part == "pump", part == "belt")


def test_an_event_at_the_row_s_own_time_is_history_and_no_target(fleet: Fleet) -> None:
    end, within = max(fleet.repairs[-1][2], fleet.alarms[-1][2]), timedelta(hours=24)
    own_time = 0
    for (entity, ts), row in fleet.gold().items():
        own = [at for m, p, at in fleet.repairs if f"{m}/{p}" == entity]
        soon = any(ts < at <= ts + within for at in own)
        known = soon or ts + within <= end
        assert row["target"] == (float(soon) if known else None)
        own_time += ts in own and not soon and row["repairs_since"] == 0
    assert own_time > 3


def test_nights_one_by_one_make_what_one_run_over_all_days_makes(fleet: Fleet, tmp_path: Path) -> None:
    other = Fleet(tmp_path)
    for days in (DAYS[:5], DAYS[5:6], DAYS[6:7], DAYS[7:10], DAYS[10:11], DAYS[11:]):
        other.night(*days)
    assert other.gold() == fleet.gold()


def test_a_late_event_reopens_the_days_that_see_it(tmp_path: Path) -> None:
    late, others = Fleet(tmp_path / "late"), Fleet(tmp_path / "others")
    others.night(*DAYS)
    (late.town.raw / "alarms" / DAYS[4].isoformat() / "a.csv").unlink()
    late.night(*DAYS)
    assert late.gold() != others.gold()
    late._drop("alarms", "code", DAYS[4], late.alarms)
    late.night(DAYS[4])
    assert late.gold() == others.gold()


def test_figures_are_the_mean_over_categories(fleet: Fleet) -> None:
    outcome = commands.backtest(fleet.town.work("backtest", *DAYS), ["town/fleet"], lambda _: None)
    for error in outcome.failures.values():
        raise error
    figures = outcome.results["town/fleet"]
    rows = [(entity, ts, row["target"]) for (entity, ts), row in fleet.gold().items() if row["target"] is not None]
    test = max(ts for _, ts in fleet.gold()) + timedelta(hours=3) - timedelta(days=3)
    known_by_then = test - timedelta(days=2) - timedelta(hours=24)
    before = [(entity, target) for entity, ts, target in rows if ts < known_by_then]
    usual: dict[str, float] = {}
    for entity in {entity for entity, _, _ in rows}:
        own = [target for other, target in before if other == entity]
        usual[entity] = float(np.mean(own or [target for _, target in before]))
    found = []
    for part in ("pump", "belt"):
        tested = [(target, usual[entity]) for entity, ts, target in rows if ts >= test and entity.endswith(part)]
        found.append(pr_auc(*zip(*tested, strict=True)))
    assert figures.figure("mean", "pr_auc") == pytest.approx(np.mean(found))
    assert not any(row.metric == "coverage" for row in figures.rows), "a probability has no interval"


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Town:
    """Three days of a detector with holes, night by night."""
    town = found(tmp_path_factory.mktemp("driven"))
    data_set = town.folder / "conf/data/town/speeds.yaml"
    data_set.write_text(data_set.read_text().replace("    speed:", "    load: {unit: '1'}\n    speed:"))
    (town.folder / "conf/town/speeds.yaml").write_text(ROLLING)
    draws = np.random.default_rng(5)
    for number in range(3):
        day = FIRST + timedelta(days=number)
        lines = [f"{line},{draws.normal():.4f}" for line in readings(day, "ab") if draws.uniform() > 0.2]
        lines[4] = lines[4].rpartition(",")[0] + ",NA"
        town.drop(day, lines, header="detector,ts,speed,load")
        town.stages("land", "clean", "features", days=(day,))
    return town


def test_rolling_figures_and_lags_equal_numpy(driven: Town) -> None:
    gold = driven.table("gold").to_pylist()
    silver = driven.table("silver").to_pylist()
    checked = 0
    for row in gold:
        mine = [(r["ts"], r["load"]) for r in silver if r["detector"] == row["entity"] and r["load"] is not None]
        for name, span in (("2h", timedelta(hours=2)), ("1d", timedelta(days=1))):
            seen = sorted((at, value) for at, value in mine if row["ts"] - span < at <= row["ts"])
            values = np.array([value for _, value in seen])
            figures: dict[str, Any] = dict.fromkeys(("mean", "std", "min", "max", "slope"))
            if len(values):
                figures |= {"mean": values.mean(), "min": values.min(), "max": values.max()}
            if len(values) > 1:
                hours = np.array([(at - row["ts"]).total_seconds() / 3600 for at, _ in seen])
                figures |= {"std": values.std(ddof=1), "slope": np.polyfit(hours, values, 1)[0]}
            for how, figure in figures.items():
                got = row[f"load_{how}_{name}"]
                assert got is None if figure is None else got == pytest.approx(figure, rel=1e-5, abs=1e-6)
                checked += figure is not None
        then = dict(mine)
        for name, span in (("30min", timedelta(minutes=30)), ("1d", timedelta(days=1))):
            value = then.get(row["ts"] - span)
            assert row[f"load_{name}_ago"] == (None if value is None else pytest.approx(value, rel=1e-6))
    assert checked > 1500 and any(row["load_1d_ago"] is not None for row in gold)
