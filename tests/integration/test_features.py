"""Silver becomes gold: features known at their row's time, targets, in files sorted by entity and time."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from town import FIRST, USE_CASE, Town, found, readings

from nightmill import commands

pytestmark = pytest.mark.usefixtures("spark")
STAGES = ("land", "clean", "features")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Town, set[str]]:
    """A town after two nights, the first of two days and the second of one, and gold's files after the first."""
    town = found(tmp_path_factory.mktemp("town"))
    days = town.history(3)
    town.stages(*STAGES, days=tuple(days[:2]))
    gold = town.work("x").lake.table("gold", "town/speeds")
    before = gold.files(gold.version() or 0)
    town.stages(*STAGES, days=(days[2],))
    return town, before


def test_gold_holds_features_and_target_of_each_row(made: tuple[Town, set[str]]) -> None:
    town, _ = made
    rows = {(r["entity"], r["ts"]): r for r in town.table("gold").to_pylist()}
    silver = {(r["detector"], r["ts"]): r["speed"] for r in town.table("silver").to_pylist()}
    ts = sorted({t for _, t in rows})[5]
    a, b, c = (silver[d, ts] for d in "abc")
    row = rows["b", ts]
    assert row["speed"] == b == row["target"]
    assert row["speed_out"] == pytest.approx((0.5 * c + 0.5 * a) / 1.0)
    assert row["speed_in"] == pytest.approx(a)
    assert rows["a", ts]["speed_two_hops"] == pytest.approx(c), "two hops leave out the way back"
    assert rows["c", ts]["speed_out"] is None, "an entity is not its own neighbour"
    assert row["speed_mean"] == pytest.approx((a + b + c) / 3)
    assert row["minute_of_week"] == 5 * 30, "2026-03-02 is a Monday, counted in local time"
    assert row["weekend"] == 0


def test_filled_values_are_inputs_but_never_targets(town: Town) -> None:
    lines = [line for line in readings(FIRST) if not line.startswith("a,2026-03-02 03:00")]
    town.history(1)
    town.drop(FIRST, lines)
    town.stages(*STAGES, days=(FIRST,), sets=("clean.gaps={fill: forward, at_most: 30 min}",))
    filled = [r for r in town.table("gold").to_pylist() if r["target"] is None]
    assert [(r["entity"], r["speed"] is not None) for r in filled] == [("a", True)]


def test_each_file_is_sorted_by_entity_and_time(made: tuple[Town, set[str]]) -> None:
    town, _ = made
    for uri in town.work("x").lake.table("gold", "town/speeds").delta().file_uris():
        table = pq.read_table(uri, columns=["entity", "ts"])
        keys = list(zip(table["entity"].to_pylist(), table["ts"].to_pylist(), strict=True))
        assert keys == sorted(set(keys))


def test_a_new_day_leaves_the_earlier_files_alone(made: tuple[Town, set[str]]) -> None:
    town, before = made
    gold = town.work("x").lake.table("gold", "town/speeds")
    assert before < gold.files(gold.version() or 0)
    assert len(town.rows("gold")) == 3 * 144


@pytest.mark.slow
def test_a_static_input_that_no_feature_reads_leaves_gold_alone(town: Town) -> None:
    day = town.history(1)[0]
    town.stages(*STAGES, days=(day,))
    gold = town.work("x").lake.table("gold", "town/speeds")
    before = gold.version()
    spots = USE_CASE.replace("as: graph}}", "as: graph}, spots: {from: data/town/spots, as: static}}")
    (town.folder / "conf/town/speeds.yaml").write_text(f"{spots}monitor: {{by: [spots.quarter]}}\n")
    (town.folder / "conf/data/town/spots.yaml").write_text(
        'title: Spots\nsource: {format: csv, path: "${raw}/spots.csv"}\n'
        "contract: {key: [detector], columns: {quarter: {type: text}}}\n"
    )
    town.stages("features")
    for quarters in ("a,old\nb,old\n", "a,old\nb,new\n"):
        (town.raw / "spots.csv").write_text(f"detector,quarter\n{quarters}")
        town.stages("land", days=(day,))
        town.stages("clean", "features")
    assert town.rows("silver", "town/spots")[1]["quarter"] == "new"
    assert gold.version() == before


def test_where_nothing_is_new_spark_is_not_started(
    made: tuple[Town, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    town, _ = made
    monkeypatch.setattr(commands, "session", lambda _: pytest.fail("Spark was started"))
    again = town.stages("land", days=(FIRST,)) | town.stages("clean", "features")
    assert again["land"].results["data/town/speeds"].records == 0
    assert again["clean"].results["data/town/speeds"].days == {}
    assert again["features"].results["town/speeds"].days == 0


def test_nothing_new_writes_nothing_and_a_forced_day_is_identical(town: Town) -> None:
    days = town.history(2)
    town.stages(*STAGES, days=tuple(days))
    before, version = town.rows("gold"), town.work("x").lake.table("gold", "town/speeds").version()
    assert town.stages("features")["features"].results["town/speeds"].days == 0
    assert town.work("x").lake.table("gold", "town/speeds").version() == version
    town.stages("features", days=(days[1],))
    assert town.rows("gold") == before


@pytest.mark.slow
def test_a_changed_feature_makes_all_days_anew(town: Town) -> None:
    days = town.history(2)
    town.stages(*STAGES, days=tuple(days))
    data_set = town.folder / "conf" / "data" / "town" / "speeds.yaml"
    data_set.write_text(data_set.read_text().replace("zone: Europe/Berlin", "zone: Europe/Berlin, holidays: DE"))
    asked = "features=[columns: [speed], calendar: [minute_of_day, holiday, weekday]]"
    town.stages("clean", "features", sets=(asked,))
    names = set(town.table("gold").column_names)
    assert {"minute_of_day", "holiday", "weekday"} <= names
    assert "speed_out" not in names


LIFE_SETS = (
    "task=regress",
    "inputs={speed: data/town/speeds, failures: {from: data/town/failures, as: events}}",
    "target={remaining_life: {cap: 40, until: failures}}",
    "features=[columns: [speed]]",
    "model={family: lstm, window: 3}",
    "evaluate.baselines=[mean_life]",
)
FAILURES = """
title: Failures
source: {format: csv, path: "${raw}/failures/{day}/*.csv"}
contract:
  key: [detector, ts]
  time: {column: ts, every: 30 min, zone: Europe/Berlin, format: "yyyy-MM-dd HH:mm:ss"}
"""


def _fail(town: Town, day: date, *lines: str) -> None:
    path = town.raw / "failures" / day.isoformat() / "failures.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["detector,ts", *lines]) + "\n")


@pytest.fixture
def ageing(town: Town) -> Town:
    """The town with a use case that asks how long each detector will last."""
    (town.folder / "conf" / "data" / "town" / "failures.yaml").write_text(FAILURES)
    case = (town.folder / "conf" / "town" / "speeds.yaml").read_text()
    kept = [
        line for line in case.splitlines() if not line.startswith(("target", "model", "evaluate", "features", "  - "))
    ]
    (town.folder / "conf" / "town" / "speeds.yaml").write_text("\n".join(kept))
    return town


def test_where_nothing_has_failed_yet_only_lives_beyond_the_cap_are_known(ageing: Town) -> None:
    days = ageing.history(2)
    for day in days:
        _fail(ageing, day)
    sets = (*LIFE_SETS, "source.may_be_empty=true")
    ageing.stages(*STAGES, days=tuple(days), sets=sets)
    assert ageing.rows("silver", "town/failures") == []
    lives = {(row["entity"], row["target"]) for row in ageing.rows("gold")}
    assert lives == {(entity, life) for entity in "abc" for life in (None, 40.0)}


def test_remaining_life_counts_to_the_next_failure_and_reopens_days_when_it_happens(ageing: Town) -> None:
    town = ageing
    days = town.history(2)
    _fail(town, days[0], "a,2026-03-02 10:00:00", "b,2026-03-02 01:00:00", "c,2026-03-02 00:30:00")
    town.stages(*STAGES, days=(days[0],), sets=LIFE_SETS)

    def life(entity: str) -> list[tuple[float | None, float]]:
        rows = sorted((r for r in town.table("gold").to_pylist() if r["entity"] == entity), key=lambda r: r["ts"])
        return [(r["target"], r["age"]) for r in rows]

    assert life("a")[:2] == [(20.0, 1.0), (19.0, 2.0)]
    assert life("a")[20:22] == [(0.0, 21.0), (None, 1.0)], "the next end is not known yet"
    _fail(town, days[1], "a,2026-03-03 12:00:00")
    made = town.stages(*STAGES, days=(days[1],), sets=LIFE_SETS)["features"].results["town/speeds"]
    assert made.days == 2, "the failure gives a target to the day before it, too"
    assert life("a")[21] == (40.0, 1.0), "longer lives count as the cap"
    assert life("a")[48 + 24] == (0.0, 52.0)
    assert FIRST + timedelta(days=1) == days[1]


def test_row_groups_are_small_enough_to_be_read_apart(tmp_path: Path, spark: SparkSession) -> None:
    spark.range(150_000).coalesce(1).write.format("delta").save(str(tmp_path / "table"))
    (file,) = (tmp_path / "table").glob("*.parquet")
    footer = pq.ParquetFile(file).metadata
    rows = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    assert sum(rows) == 150_000 and max(rows) <= 65_536
