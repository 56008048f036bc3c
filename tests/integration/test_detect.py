"""Detection through the night's stages: normal days are learnt, a fault is an alarm, without any label."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from town import FIRST, Town, found, readings

from nightmill.errors import ConfigError

DAYS = [FIRST + timedelta(days=n) for n in range(6)]
USE_CASE = """
title: What is unlike the first days
task: detect
inputs: {speed: data/town/speeds}
features:
  - columns: [speed, load]
model: {family: pca, window: 8, smooth: 3, drift: null, alarms: 1 %}
train: {workers: 0, loss: residual}
score: {origins: each}
evaluate: {split: {start: {rows: 190, validation: 20 %, reach_back: true}}, metrics: [f1], baselines: [always]}
"""


def town(folder: Path, use_case: str = USE_CASE) -> Town:
    """Five normal days, and one on which detector b is stuck far above from noon on."""
    made = found(folder)
    data_set = folder / "conf/data/town/speeds.yaml"
    data_set.write_text(data_set.read_text().replace("    speed:", "    load: {unit: '1'}\n    speed:"))
    (folder / "conf/town/speeds.yaml").write_text(use_case)
    draws = np.random.default_rng(7)
    for day in DAYS:
        lines = []
        for line in readings(day, "ab"):
            detector, ts, _ = line.split(",")
            fault = day == DAYS[-1] and detector == "b" and ts[11:] >= "12:00"
            lines.append(f"{detector},{ts},{draws.normal(50, 2) + 15 * fault:.3f},{draws.normal():.3f}")
        made.drop(day, lines, header="detector,ts,speed,load")
    return made


@pytest.mark.parametrize("family", ["pca", "state_space"])
def test_a_fault_is_an_alarm_and_normal_days_are_none(tmp_path: Path, spark: SparkSession, family: str) -> None:
    one = town(tmp_path, USE_CASE.replace("family: pca", f"family: {family}"))
    one.stages("land", "clean", "features", "train", "evaluate", "score", days=tuple(DAYS))
    rows = one.table("predictions").to_pylist()
    assert {row["target"] for row in rows} == {"health"} and all(row["value"] >= 0 for row in rows)
    assert all(row["lo"] is None or np.isnan(row["lo"]) for row in rows)
    local = [(row["entity"], row["ts"] + timedelta(hours=1), row["label"] == "alarm") for row in rows]  # winter
    during = [a for e, ts, a in local if e == "b" and ts.date() == DAYS[-1] and ts.hour >= 14]
    normal = [a for e, ts, a in local if e == "a" or ts.date() < DAYS[-1]]
    assert len(during) > 15 and all(during)
    assert len(normal) > 400 and np.mean(normal) < 0.15


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("loss: residual", "loss: mae", "task detect and train.loss residual need each other"),
        ("family: pca", "family: mlp", "Extra inputs|unknown key|mlp"),
        ("smooth: 3", "smooth: 8", "smooth .8. must be less than window .8."),
        ("drift: null", "inputs: [wind]", "'wind' is none of the features"),
        ("drift: null", "inputs: [speed, load]", "model.inputs names all features"),
        ("train: {workers: 0", "train: {start: champion, workers: 0", "what is normal is learnt anew"),
        ("task: detect", "task: classify", "task"),
        ("metrics: [f1]", "metrics: [mape, accuracy]", "metric accuracy needs train.loss"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert USE_CASE.count(right) == 1
    made = town(tmp_path, USE_CASE.replace(right, wrong))
    with pytest.raises(ConfigError, match=said):
        made.configuration().use_case("town/speeds")
