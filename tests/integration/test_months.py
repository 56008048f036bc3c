"""A series of calendar months: quantiles of a demand that comes now and then, and a gate that refuses a net."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pyspark.sql import SparkSession
from town import FIRST, Town, found

from nightmill import commands

pytestmark = pytest.mark.usefixtures("spark")
DEMAND = """
title: Demand
source: {format: csv, path: "${raw}/demand.csv", missing: [NA], wide: {entity: part, value: demand}}
contract:
  key: [part, ts]
  time: {column: ts, from: month, format: yyyy-MM, every: 1 month, zone: Europe/Berlin}
  columns: {demand: {type: int, unit: "1", between: [0, 1000]}}
"""
CASE = """
title: Parts wanted in the next three months
task: forecast
inputs: {demand: {from: data/town/demand, complete: true}}
target: {column: demand, horizon: 3}
features: [{columns: [demand]}]
model: {family: trees, window: 6, together: true, least: 50, entity: false}
train: {workers: 0, epochs: 4, loss: negative_binomial}
evaluate:
  split: {time: {validation: 6 months, test: 6 months, reach_back: true}}
  metrics: [pinball, mae]
  levels: [50 %, 90 %, 99 %]
  baselines: [window_mean, tsb]
  seeds: 1
"""
MONTHS, PARTS = 36, 60


def _demand() -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(0)
    share, size = rng.uniform(0.1, 0.6, PARTS), rng.uniform(1, 6, PARTS)
    return [f"p{n}" for n in range(PARTS)], (rng.random((MONTHS, PARTS)) < share) * rng.poisson(size, (MONTHS, PARTS))


def _trained(town: Town) -> None:
    assert not commands.train(town.work("train", FIRST), ["town/parts"], lambda *_: None).failures


def test_months_from_raw_files_to_predictions(tmp_path: Path, spark: SparkSession) -> None:
    town, (names, demand) = found(tmp_path), _demand()
    (town.folder / "conf/data/town/demand.yaml").write_text(DEMAND)
    (town.folder / "conf/town/parts.yaml").write_text(CASE)
    stamps = [f"{2023 + n // 12}-{n % 12 + 1:02}" for n in range(MONTHS)]
    lines = [",".join(["month", *names])]
    for stamp, row in zip(stamps, demand, strict=True):
        late = "NA" if stamp < "2023-05" else row[0]  # the first part comes later, so it is not complete
        lines.append(",".join([stamp, str(late), *map(str, row[1:])]))
    town.raw.mkdir(parents=True, exist_ok=True)
    (town.raw / "demand.csv").write_text("\n".join(lines) + "\n")
    for stage in (commands.land, commands.clean, commands.features):
        assert not stage(town.work(stage.__name__, FIRST), ["town/parts"]).failures
    gold = town.table("gold", "town/parts").to_pylist()
    _trained(town)
    assert {row["entity"] for row in gold} == set(names[1:]) and len(gold) == MONTHS * (PARTS - 1)

    judged = commands.evaluate(town.work("evaluate", FIRST), ["town/parts"]).results["town/parts"]
    figures = {(s.of, s.metric): s.value for s in judged.scores if s.horizon is None}
    assert figures["candidate", "pinball"] < 1.1 * figures["window_mean", "pinball"]
    better = figures["candidate", "pinball"] < figures["window_mean", "pinball"]
    assert judged.promoted is better and "pinball" in judged.reason
    if not better:  # so that there is a champion to predict with
        pytest.fail(f"trees lose to the mean: {judged.reason}")

    last = datetime(2025, 12, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    scored = commands.score(town.work("score", last.date()), ["town/parts"])
    assert not scored.failures
    rows = town.table("predictions", "town/parts").to_pylist()
    assert len(rows) == 3 * (PARTS - 1) and {row["ts"] for row in rows} == {last}
    ahead = {row["horizon"]: row["target_ts"] for row in rows}
    assert ahead == {n: datetime(2026, n, 1, tzinfo=last.tzinfo) for n in (1, 2, 3)}
    assert all(0 <= row["lo"] <= row["hi"] for row in rows)

    net = "{family: gru, window: 6, hidden: 4, layers: 1}\ntrain: {workers: 0, epochs: 1, learning_rate: 1.0e-05,"
    head, tail = CASE.split("model: ")[0], CASE.split("train: {workers: 0, epochs: 4,")[1]
    (town.folder / "conf/town/parts.yaml").write_text(f"{head}model: {net}{tail}")
    _trained(town)
    refused = commands.evaluate(town.work("evaluate", FIRST), ["town/parts"]).results["town/parts"]
    assert not refused.promoted and "is not promoted: pinball" in refused.reason
