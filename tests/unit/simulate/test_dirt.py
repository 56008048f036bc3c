"""Each kind of dirt does to a record what it says, in the drop that it says."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import functions as F

from nightmill.simulate import dirt
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import local_steps
from nightmill.simulate.episodes import Steps

MONDAY, TUESDAY = "2026-03-02", "2026-03-03"
FILE = "city/x/{}/x.csv".format
# kind -> records (drop, sensor, value) and truth (kind, sensor, drop) of the clean row (a, 2026-03-02 08:00, '50.0')
OUTCOMES = {
    "duplicate": ([(MONDAY, "a", "50.0"), (MONDAY, "a", "50.0")], [("duplicate", "a", MONDAY)]),
    "superseded": (
        [(MONDAY, "a", "40.0"), (TUESDAY, "a", "50.0")],
        [("superseded", "a", MONDAY), ("correction", "a", TUESDAY)],
    ),
    "out_of_range": ([(MONDAY, "a", "999")], [("out_of_range", "a", MONDAY)]),
    "missing_value": ([(MONDAY, "a", None)], [("missing_value", "a", MONDAY)]),
    "missing_step": ([], [("missing_step", "a", MONDAY)]),
    "late": ([(TUESDAY, "a", "50.0")], [("delayed", "a", MONDAY), ("late", "a", TUESDAY)]),
    "unknown_entity": ([(MONDAY, "stranger", "50.0")], [("unknown_entity", "stranger", MONDAY)]),
    "malformed": ([(MONDAY, "a", "50.0")], [("malformed", "a", MONDAY)]),
}
STEPS = Steps(timedelta(minutes=15), "Europe/Berlin")


def _kinds():
    return {
        "duplicate": {},
        "superseded": {"speed": F.lit("40.0")},
        "out_of_range": {"speed": F.lit("999")},
        "missing_value": {"speed": F.lit(None).cast("string")},
        "missing_step": {},
        "late": {},
        "unknown_entity": {"sensor": F.lit("stranger")},
        "malformed": {},
    }


def _soil(rates, *, rows=1e9, steps=None, kinds=None):
    return dirt.Soil(
        "city/x", "x.csv", "sensor", kinds or _kinds(), rows, steps, dict.fromkeys(dirt.RATES, 0.0) | rates
    )


def _clean(spark, count=1):
    return spark.range(count).select(
        F.lit("a").alias("sensor"),
        (F.lit("2026-03-02 08:00:00").cast("timestamp") + F.make_dt_interval(secs=F.col("id"))).alias("ts"),
        F.lit(date(2026, 3, 2)).alias("day"),
        F.lit("50.0").alias("speed"),
    )


@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_kind_does_what_it_says_and_the_truth_names_every_trace(spark, kind):
    records, truth = dirt.plant(_clean(spark), _soil({kind: 1.0}), date(2026, 3, 2), 2, Chance(0))
    wanted, named = OUTCOMES[kind]
    found = records.collect()
    assert sorted((str(r["drop"]), r["sensor"], r["speed"]) for r in found) == wanted
    assert [r["malformed"] for r in found] == [kind == "malformed"] * len(found)
    told = sorted(tuple(map(str, row)) for row in truth.collect())
    assert told == sorted(("city/x", k, e, "2026-03-02T08:00:00Z", FILE(day), day) for k, e, day in named)


def test_without_dirt_every_record_is_there_once_and_the_truth_is_empty(spark):
    records, truth = dirt.plant(_clean(spark, 20), _soil({}), date(2026, 3, 2), 1, Chance(0))
    assert records.columns == ["sensor", "ts", "day", "speed", "drop", "malformed"]
    assert records.count() == 20 and truth.count() == 0


def test_only_the_wanted_drops_are_written(spark):
    records, truth = dirt.plant(_clean(spark), _soil({"superseded": 1.0}), date(2026, 3, 3), 1, Chance(0))
    assert [r["speed"] for r in records.collect()] == ["50.0"]
    assert [r["kind"] for r in truth.collect()] == ["correction"]


def test_kinds_come_as_often_as_their_rates_say(spark):
    soil = _soil(dirt.RATES)
    _, truth = dirt.plant(_clean(spark, 40_000), soil, date(2026, 3, 2), 1, Chance(0))
    counts = {row["kind"]: row["count"] for row in truth.groupBy("kind").count().collect()}
    for kind in OUTCOMES:
        seen, rate = counts["delayed" if kind == "late" else kind], dirt.RATES[kind]
        assert abs(seen - 40_000 * rate) < 4.5 * (40_000 * rate) ** 0.5, kind


def test_small_data_sets_get_some_cases_and_tiny_ones_are_not_drowned(spark):
    assert _soil(dirt.RATES, rows=1e6).share("bad_time") == dirt.RATES["bad_time"]
    assert _soil(dirt.RATES, rows=100).share("bad_time") == dirt.LEAST / 100
    assert _soil(dirt.RATES, rows=5).share("bad_time") == dirt.MOST


@pytest.fixture(scope="module")
def episodes(spark):
    """Per sensor and local day the kinds by step, of 40 sensors on days of 23 and of 24 hours."""
    kinds = {"stuck": {}, "spike": {}, "counter_back": {}, "missing_step": {}}
    soil = _soil({"stuck": 0.1, "spike": 0.01, "counter_back": 0.01, "missing_step": 0.2}, steps=STEPS, kinds=kinds)
    sensors = spark.range(40).select(F.format_string("s-%02d", "id").alias("sensor"))
    clean = sensors.crossJoin(local_steps(spark, date(2026, 3, 28), 3, STEPS.every, STEPS.zone))
    _, truth = dirt.plant(clean, soil, date(2026, 3, 28), 3, Chance(0))
    found: dict[tuple, dict[int, str]] = {}
    for row in truth.collect():
        begin = datetime.combine(row["drop"], time(), ZoneInfo(STEPS.zone))
        step = (datetime.fromisoformat(row["ts"]) - begin.astimezone(UTC)) // STEPS.every
        found.setdefault((row["entity"], row["drop"]), {})[step] = row["kind"]
    return found


def test_a_stuck_sensor_is_stuck_for_all_of_its_rows(episodes):
    runs = []
    for kinds in episodes.values():
        stuck = sorted(step for step, kind in kinds.items() if kind == "stuck")
        runs += [step for step in stuck if step - 1 not in stuck]
        assert len(stuck) % STEPS.stuck == 0
        assert all({*range(s, s + STEPS.stuck)} <= {*stuck} for s in stuck if s - 1 not in stuck)
    assert len(runs) > 30


def test_rows_of_an_episode_have_clean_neighbours_within_the_day(episodes):
    seen = set()
    for (_, day), kinds in episodes.items():
        last = (92 if day == date(2026, 3, 29) else 96) - 1
        for step, kind in kinds.items():
            if kind != "missing_step":
                seen.add(kind)
                assert 0 < step < last
                assert {kinds.get(step - 1, kind), kinds.get(step + 1, kind)} == {kind}
                assert "missing_step" not in {kinds.get(s) for s in range(step // 24 * 24, step // 24 * 24 + 24)}
    assert seen == {"stuck", "spike", "counter_back"}
