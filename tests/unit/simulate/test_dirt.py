"""Each kind of dirt does to a record what it says, in the drop that it says."""

from __future__ import annotations

from datetime import date

import pytest
from pyspark.sql import functions as F

from nightmill.simulate import dirt
from nightmill.simulate.chance import Chance

MONDAY, TUESDAY = "2026-03-02", "2026-03-03"
FILE = "city/x/{}/x.csv".format
# kind -> records (drop, value) and truth (kind, drop) of the one clean row (a, 2026-03-02 08:00, '50.0')
OUTCOMES = {
    "duplicate": ([(MONDAY, "50.0"), (MONDAY, "50.0")], [("duplicate", MONDAY)]),
    "superseded": ([(MONDAY, "40.0"), (TUESDAY, "50.0")], [("superseded", MONDAY), ("correction", TUESDAY)]),
    "out_of_range": ([(MONDAY, "999")], [("out_of_range", MONDAY)]),
    "not_a_number": ([(MONDAY, "err")], [("not_a_number", MONDAY)]),
    "missing_value": ([(MONDAY, None)], [("missing_value", MONDAY)]),
    "missing_step": ([], [("missing_step", MONDAY)]),
    "late": ([(TUESDAY, "50.0")], [("delayed", MONDAY), ("late", TUESDAY)]),
}


def _soil(*, spoilt=dirt.SPOILT):
    written = {
        "superseded": F.lit("40.0"),
        "out_of_range": F.lit("999"),
        "not_a_number": F.lit("err"),
        "missing_value": F.lit(None).cast("string"),
    }
    return dirt.Soil("city/x", "x.csv", "sensor", "speed", {kind: written[kind] for kind in spoilt})


def _clean(spark, count=1):
    return spark.range(count).select(
        F.lit("a").alias("sensor"),
        (F.lit("2026-03-02 08:00:00").cast("timestamp") + F.make_dt_interval(secs=F.col("id"))).alias("ts"),
        F.lit(date(2026, 3, 2)).alias("day"),
        F.lit("50.0").alias("speed"),
    )


def _always(monkeypatch, kind):
    monkeypatch.setattr(dirt, "RATES", dict.fromkeys(dirt.RATES, 0.0) | ({kind: 1.0} if kind else {}))


@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_kind_does_what_it_says_and_the_truth_names_every_trace(spark, monkeypatch, kind):
    _always(monkeypatch, kind)
    records, truth = dirt.plant(_clean(spark), _soil(), date(2026, 3, 2), 2, Chance(0))
    wanted, named = OUTCOMES[kind]
    assert sorted((str(r["drop"]), r["speed"]) for r in records.collect()) == wanted
    found = sorted(tuple(map(str, row)) for row in truth.collect())
    assert found == sorted(("city/x", k, "a", "2026-03-02T08:00:00Z", FILE(day), day) for k, day in named)


def test_without_dirt_every_record_is_there_once_and_the_truth_is_empty(spark, monkeypatch):
    _always(monkeypatch, None)
    records, truth = dirt.plant(_clean(spark, 20), _soil(), date(2026, 3, 2), 1, Chance(0))
    assert records.columns == ["sensor", "ts", "day", "speed", "drop"]
    assert records.count() == 20 and truth.count() == 0


def test_only_the_wanted_drops_are_written(spark, monkeypatch):
    _always(monkeypatch, "superseded")
    records, truth = dirt.plant(_clean(spark), _soil(), date(2026, 3, 3), 1, Chance(0))
    assert [r["speed"] for r in records.collect()] == ["50.0"]
    assert [r["kind"] for r in truth.collect()] == ["correction"]


def test_a_kind_that_the_format_cannot_show_leaves_the_record_clean(spark, monkeypatch):
    _always(monkeypatch, "not_a_number")
    records, truth = dirt.plant(_clean(spark), _soil(spoilt=["missing_value"]), date(2026, 3, 2), 1, Chance(0))
    assert [r["speed"] for r in records.collect()] == ["50.0"]
    assert truth.count() == 0


def test_kinds_come_as_often_as_their_rates_say(spark):
    _, truth = dirt.plant(_clean(spark, 40_000), _soil(), date(2026, 3, 2), 1, Chance(0))
    counts = {row["kind"]: row["count"] for row in truth.groupBy("kind").count().collect()}
    for kind, rate in dirt.RATES.items():
        seen = counts["delayed" if kind == "late" else kind]
        assert abs(seen - 40_000 * rate) < 4.5 * (40_000 * rate) ** 0.5, kind
