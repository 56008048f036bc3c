"""Tables without a time: rows that are classified one by one, from raw file to promotion and predictions."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from town import Town, found

from nightmill import commands

pytestmark = pytest.mark.usefixtures("spark")
TIMELESS = date(1970, 1, 1)
DATA_SET = """
title: Parts
source: {format: csv, path: "${raw}/parts.csv"}
contract:
  key: [part]
  columns:
    part: {type: text, required: true}
    grade: {type: text, one_of: [low, high]}
    torque: {unit: N*m, required: true}
    speed: {unit: rpm}
    verdict: {type: text, one_of: [ok, scrap]}
"""
USE_CASE = """
title: Which parts are scrap
task: classify
inputs: {parts: data/town/parts}
target: {column: verdict, classes: [ok, scrap]}
features:
  - columns: [torque, speed]
  - categories: {of: grade, values: [low, high]}
  - formula: {name: power, of: torque * speed}
  - formula: {name: share, of: torque / speed}
model: {family: mlp, window: 1, hidden: 16, dropout: 0 %}
train: {epochs: 30, batch: 32, workers: 0, loss: cross_entropy, learning_rate: 0.02}
evaluate: {split: {folds: {count: 3}}, metrics: [accuracy], baselines: [mean], seeds: 1}
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Town:
    town = found(tmp_path_factory.mktemp("town"))
    (town.folder / "conf/data/town/parts.yaml").write_text(DATA_SET)
    (town.folder / "conf/town/parts.yaml").write_text(USE_CASE)
    draws = np.random.default_rng(0)
    lines = ["part,grade,torque,speed,verdict", "p000,low,2,0,ok", "p001,,4,,"]
    for number in range(2, 200):
        torque, speed = draws.uniform(1, 9), draws.uniform(10, 90)
        verdict = "scrap" if torque * speed > 250 else "ok"
        lines.append(f"p{number:03d},{'high' if number % 3 else 'low'},{torque:.3f},{speed:.3f},{verdict}")
    (town.raw / "parts.csv").write_text("\n".join(lines))
    for stage in (commands.land, commands.clean, commands.features):
        for error in stage(town.work(stage.__name__), ["town/parts"]).failures.values():
            raise error
    return town


def test_features_of_a_row_follow_from_that_row_alone(town: Town) -> None:
    gold = {row["entity"]: row for row in town.table("gold", "town/parts").to_pylist()}
    silver = {row["part"]: row for row in town.table("silver", "town/parts").to_pylist()}
    assert len(gold) == 200 and {row["day"] for row in gold.values()} == {TIMELESS}
    for name, row in gold.items():
        torque, speed, grade = (silver[name][column] for column in ("torque", "speed", "grade"))
        if speed:
            assert row["power"] == pytest.approx(torque * speed, rel=1e-6)
            assert row["share"] == pytest.approx(torque / speed, rel=1e-6)
        if grade:
            assert (row["grade_low"], row["grade_high"]) == (grade == "low", grade == "high")


def test_what_is_missing_or_divides_by_nothing_gives_nothing(town: Town) -> None:
    gold = {row["entity"]: row for row in town.table("gold", "town/parts").to_pylist()}
    assert gold["p000"]["power"] == 0 and gold["p000"]["share"] is None
    assert [gold["p001"][name] for name in ("grade_low", "grade_high", "power", "share")] == [None] * 4


def test_the_target_is_the_position_of_the_class_that_the_text_names(town: Town) -> None:
    gold = {row["entity"]: row["target"] for row in town.table("gold", "town/parts").to_pylist()}
    silver = {row["part"]: row["verdict"] for row in town.table("silver", "town/parts").to_pylist()}
    assert {(silver[name], target) for name, target in gold.items()} == {("ok", 0.0), ("scrap", 1.0), (None, None)}


def test_a_backtest_tests_each_row_once_and_tells_the_mean_of_its_folds(town: Town) -> None:
    outcome = commands.backtest(town.work("backtest"), ["town/parts"], lambda _: None)
    for error in outcome.failures.values():
        raise error
    found = outcome.results["town/parts"]
    assert found.test_samples == 200 and found.seeds == [0]
    assert found.figure("model", "accuracy") > found.figure("mean", "accuracy")
    assert found.figure("model", "accuracy") > 0.9
    strength = {lever: values[0] for lever, values in found.levers.items()}
    assert list(strength)[:2] == ["speed", "torque"] or list(strength)[:2] == ["torque", "speed"]
    assert strength["torque"] > 0.2 > 0.05 > abs(strength["grade"]), "power and share are levers of neither"
    assert strength.keys() == {"torque", "speed", "grade"}


def test_rows_are_trained_judged_and_labelled_with_their_class(town: Town) -> None:
    for stage in (commands.train, commands.evaluate, commands.score):
        more = (lambda _: None,) if stage is commands.train else ()
        outcome = stage(town.work(stage.__name__), ["town/parts"], *more)
        for error in outcome.failures.values():
            raise error
    predictions = town.table("predictions", "town/parts").to_pylist()
    assert len(predictions) == 200
    truth = {row["part"]: row["verdict"] for row in town.table("silver", "town/parts").to_pylist()}
    right = [row["label"] == truth[row["entity"]] for row in predictions if truth[row["entity"]]]
    assert {row["label"] for row in predictions} == {"ok", "scrap"} and np.mean(right) > 0.9
    assert all(0.5 <= row["score"] <= 1 for row in predictions)


def test_a_champion_is_only_followed_by_one_with_a_higher_figure(town: Town, tmp_path: Path) -> None:
    verdict = commands.evaluate(town.work("evaluate"), ["town/parts"]).results["town/parts"]
    assert verdict.champion == verdict.candidate
    sets = ("train.epochs=1", "train.learning_rate=0.0000001")
    commands.train(town.work("train", sets=sets), ["town/parts"], lambda _: None)
    verdict = commands.evaluate(town.work("evaluate"), ["town/parts"]).results["town/parts"]
    assert not verdict.promoted and "is not above" in verdict.reason
