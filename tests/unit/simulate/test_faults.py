"""Faults befall what they name, from their day on, and nothing else."""

from __future__ import annotations

from datetime import date

import pytest

from nightmill.errors import ConfigError
from nightmill.simulate import DATA_SETS, faults, machines, maps, traffic
from nightmill.simulate.chance import Chance

FIRST, DAY, CHANCE = date(2026, 3, 2), date(2026, 3, 3), Chance(3)
SIZES = {"traffic": 20, "machines": 12}


def _planned(spark, kind):
    (found,) = faults.plan(spark, {kind: DAY}, SIZES, CHANCE)
    return found


def test_detectors_of_one_district_read_too_low_and_more_each_day_up_to_a_limit(spark):
    detectors = spark.createDataFrame([("a", "north"), ("b", "south")], "detector string, district string")
    days = [date(2026, 3, n) for n in (2, 3, 4, 30)]
    rows = [(day, name, 100.0) for day in days for name in "ab"]
    speeds = spark.createDataFrame(rows, "day date, detector string, speed double")
    drift = faults.Fault("drift", traffic.NAME, "north", DAY, "")
    found = faults.lowered(drift, detectors, speeds)
    assert found.columns == speeds.columns
    by_day = {name: [r["speed"] for r in found.where(f"detector = '{name}'").orderBy("day").collect()] for name in "ab"}
    assert by_day == {"a": [100.0, 85.0, 80.0, 60.0], "b": [100.0] * 4}


def test_the_district_that_drifts_is_one_of_the_map(spark):
    assert _planned(spark, "drift").name in {r["district"] for r in maps.detectors(spark, 20, CHANCE).rows.collect()}


def test_a_healthy_machine_wears_out_within_its_day_and_is_then_as_it_was(spark):
    wear = _planned(spark, "wear")
    keys = ["machine", "hour"]
    usual = machines.lives(spark, FIRST, 4, 12, CHANCE).toPandas().set_index(keys)["remaining"]
    worn = faults.making(machines.READINGS, machines.reading_drops, [wear]).keywords["fault"]
    found = machines.lives(spark, FIRST, 4, 12, CHANCE, worn).toPandas().set_index(keys)["remaining"]
    changed = found[found != usual]
    assert set(changed.index.get_level_values("machine")) == {wear.name}
    midnight = (DAY - date(1970, 1, 1)).days * 24
    hours = changed.index.get_level_values("hour")
    assert midnight <= hours.min() and hours.max() == midnight + 24
    assert usual[wear.name][midnight] > 120
    assert [found[wear.name][midnight + n] for n in (0, 10, 20, 23, 24)] == [120, 40, 1, 1, 0]
    made = faults.making(machines.FAILURES, machines.failure_drops, [wear])
    failed = made(spark, FIRST, 4, 12, CHANCE).rows.where(f"machine = '{wear.name}'").collect()
    assert ("2026-03-04T00:00:00", date(2026, 3, 4)) in {(row["ts"], row["drop"]) for row in failed}


def test_other_data_sets_and_runs_without_faults_are_as_ever(spark):
    drift, wear = _planned(spark, "drift"), _planned(spark, "wear")
    assert faults.making("city/air", traffic.drops, [drift, wear]) is traffic.drops
    assert faults.making(traffic.NAME, traffic.drops, [wear]) is traffic.drops
    assert faults.plan(spark, {}, SIZES, CHANCE) == []


def test_each_seed_has_faults_of_its_own_and_always_the_same(spark):
    kinds = {"drift": DAY, "wear": DAY}
    found = [faults.plan(spark, kinds, {"traffic": 300, "machines": 40}, Chance(seed)) for seed in (1, 2, 1)]
    assert found[0] == found[2] != found[1]


def test_texts_are_kinds_and_days():
    assert faults.parse_faults([]) == {}
    assert faults.parse_faults(["drift=2026-03-15", "wear=2026-03-16"]) == {
        "drift": date(2026, 3, 15),
        "wear": date(2026, 3, 16),
    }


@pytest.mark.parametrize("text", ["drift", "drift=", "drift=15.3.2026", "drift=20260315", "drift=2026-02-30"])
def test_what_is_no_kind_and_day_is_refused(text):
    with pytest.raises(ConfigError, match="expected KIND=DAY"):
        faults.parse_faults([text])
    with pytest.raises(ConfigError, match="given twice"):
        faults.parse_faults(["wear=2026-03-15", "wear=2026-03-16"])


@pytest.mark.parametrize(
    ("given", "data_sets", "said"),
    [
        ({"drfit": DAY}, DATA_SETS, "did you mean 'drift'"),
        ({"fire": DAY}, DATA_SETS, "known: drift, wear, format"),
        ({"drift": DAY}, ["city/air"], "name city/traffic among the data sets"),
        ({"drift": date(2026, 3, 5)}, DATA_SETS, "would not show in the drops of 2026-03-02 to 2026-03-04"),
        ({"wear": date(2026, 2, 28)}, DATA_SETS, "choose one of these days"),
        ({"format": date(2026, 3, 1)}, DATA_SETS, "choose one of these days"),
    ],
)
def test_faults_that_would_leave_no_trace_are_refused(given, data_sets, said):
    with pytest.raises(ConfigError) as refused:
        faults.check_faults(given, data_sets, FIRST, 3)
    assert said in str(refused.value)


def test_a_drift_that_began_before_the_first_day_goes_on():
    faults.check_faults({"drift": date(2026, 1, 1), "wear": date(2026, 3, 1)}, DATA_SETS, FIRST, 3)
