"""Predictions: the champion's, for exactly the days asked, readable by any Delta reader."""

import gc
import os
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from pyspark.sql import SparkSession
from town import FIRST, Town

from nightmill.commands import evaluate, score, train
from nightmill.errors import DataRefused, WorkFailed
from nightmill.lake.ops import events

pytestmark = pytest.mark.usefixtures("spark")
DAYS = [FIRST + timedelta(days=n) for n in range(6)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Town:
    from town import found

    town = found(tmp_path_factory.mktemp("town"))
    town.history(6)
    town.stages("land", "clean", "features", "train", days=tuple(DAYS))
    return town


@pytest.fixture(scope="module")
def town(trained: Town) -> Town:
    """With a champion: promoted by hand, since two epochs on six days need not beat last value."""
    outcome = evaluate(trained.work("evaluate"), ["town/speeds"])
    verdict = outcome.results["town/speeds"]
    if not verdict.promoted:
        trained.work("x").registry.promote("town/speeds", verdict.candidate)
    return trained


def _score(town: Town, *days: date, sets: tuple[str, ...] = ()) -> list:
    outcome = score(town.work("score", *days, sets=sets), ["town/speeds"])
    for error in outcome.failures.values():
        raise error
    return outcome.results["town/speeds"]


def test_without_a_champion_scoring_says_what_to_run(trained: Town) -> None:
    with pytest.raises(WorkFailed, match="no champion") as raised:
        _score(trained, DAYS[5])
    assert "nightmill train" in raised.value.fix
    assert not (trained.lake / "predictions").exists()


def test_last_scores_what_is_ahead_of_the_days_last_row(town: Town) -> None:
    (scored,) = _score(town, DAYS[5])
    assert (scored.rows, scored.entities) == (6, 3)
    rows = town.table("predictions").to_pylist()
    last = max(r["ts"] for r in town.table("gold").to_pylist() if r["day"] == DAYS[5])
    assert {(r["entity"], r["ts"], r["horizon"], r["target_ts"]) for r in rows if r["day"] == DAYS[5]} == {
        (e, last, h, last + h * timedelta(minutes=30)) for e in "abc" for h in (1, 2)
    }
    for row in rows:
        assert row["lo"] <= row["value"] <= row["hi"]
        assert (row["target"], row["model_version"]) == ("speed", 1)
        assert row["run_id"] and row["feature_version"] is not None and row["scored_at"] is not None


def test_a_python_worker_keeps_what_it_freed_and_leaves_what_it_loaded_to_itself(
    town: Town, spark: SparkSession
) -> None:
    _score(town, DAYS[5])

    def told(_: int) -> tuple[str | None, int]:
        return os.environ.get("MALLOC_TRIM_THRESHOLD_"), gc.get_freeze_count()

    found = spark.sparkContext.parallelize(range(2), 2).map(told).collect()
    assert {threshold for threshold, _ in found} == {str(128 * 2**20)}
    assert max(frozen for _, frozen in found) > 10_000


def test_each_scores_every_row_of_the_day_and_no_other(town: Town) -> None:
    (scored,) = _score(town, DAYS[4], sets=("score.origins=each",))
    assert scored.rows == 3 * 48 * 2
    rows = [r for r in town.table("predictions").to_pylist() if r["day"] == DAYS[4]]
    gold = {(r["entity"], r["ts"]) for r in town.table("gold").to_pylist() if r["day"] == DAYS[4]}
    assert {(r["entity"], r["ts"]) for r in rows} == gold


def test_the_first_rows_of_all_have_too_little_history_for_the_model(town: Town) -> None:
    (scored,) = _score(town, DAYS[0], sets=("score.origins=each",))
    assert (scored.rows, scored.fallbacks) == (3 * 48 * 2, 3 * 3 * 2)
    rows = [r for r in town.table("predictions").to_pylist() if r["day"] == DAYS[0] and r["fallback"]]
    first = min(r["ts"] for r in rows)
    assert {(r["entity"], r["ts"], r["fallback"]) for r in rows} == {
        (e, first + n * timedelta(minutes=30), "history") for e in "abc" for n in range(3)
    }


def test_rerunning_a_day_leaves_the_table_identical(town: Town) -> None:
    _score(town, DAYS[4], DAYS[5])
    before = town.rows("predictions")
    _score(town, DAYS[4])
    assert town.rows("predictions") == before


def test_spark_deltalake_and_duckdb_read_the_same_predictions(town: Town, spark: SparkSession) -> None:
    _score(town, DAYS[4], DAYS[5], sets=("score.origins=each",))
    uri = str(town.lake / "predictions" / "town" / "speeds")
    query = "entity, count(*) n, round(sum(value), 2) v, min(ts) a, max(target_ts) z, min(day) d"
    by_spark = spark.read.format("delta").load(uri)
    by_spark.createOrReplaceTempView("p")
    one = [tuple(r) for r in spark.sql(f"SELECT {query} FROM p GROUP BY entity ORDER BY entity").collect()]
    p = town.table("predictions")  # noqa: F841 - duckdb reads it by name
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    two = connection.execute(f"SELECT {query} FROM p GROUP BY entity ORDER BY entity").fetchall()
    shown = [[(r[0], r[1], float(r[2]), r[5]) for r in rows] for rows in (one, two)]
    assert shown[0] == [(e, n, pytest.approx(v, abs=0.05), d) for e, n, v, d in shown[1]]
    filtered = by_spark.where(f"day = DATE'{DAYS[5]}' AND entity = 'b' AND horizon = 2").count()
    assert filtered == 48, "statistics let readers skip files but never rows"
    assert by_spark.where("value > 1000000").count() == 0


def test_a_reader_in_the_middle_sees_the_old_day_or_the_new_one(town: Town) -> None:
    _score(town, DAYS[5], sets=("score.origins=each",))
    table = town.work("x").lake.table("predictions", "town/speeds")
    for version in range(1, (table.version() or 0) + 1):
        days = (
            table.delta(version)
            .to_pyarrow_table(columns=["day", "run_id"])
            .group_by("day")
            .aggregate([("run_id", "count_distinct")])
        )
        assert set(days["run_id_count_distinct"].to_pylist()) <= {1}


def test_a_day_without_rows_is_refused_and_nothing_is_written(town: Town) -> None:
    version = town.work("x").lake.table("predictions", "town/speeds").version()
    with pytest.raises(DataRefused, match="no entity has a row on 2027-01-01"):
        _score(town, date(2027, 1, 1))
    assert town.work("x").lake.table("predictions", "town/speeds").version() == version


def test_a_model_that_saw_later_days_scores_in_hindsight(town: Town) -> None:
    assert [s.hindsight for s in _score(town, DAYS[3], DAYS[5])] == [True, False]


def test_evaluating_again_promotes_nothing_and_a_lost_record_is_reconciled(town: Town) -> None:
    known = len(events(town.work("x").lake, "promotions"))
    outcome = evaluate(town.work("evaluate"), ["town/speeds"])
    assert not outcome.results["town/speeds"].promoted
    told = events(town.work("x").lake, "promotions")
    assert len(told) == max(known, 1)
    assert told[-1]["model_version"] == 1


def test_a_worse_candidate_is_not_promoted(town: Town) -> None:
    sets = ("train.learning_rate=5", "train.epochs=1", "train.seed=1")
    assert train(town.work("train", sets=sets), ["town/speeds"], lambda _: None).exit_code == 0
    verdict = evaluate(town.work("evaluate"), ["town/speeds"]).results["town/speeds"]
    assert verdict.candidate > 1 and not verdict.promoted
    assert "is not below" in verdict.reason
    assert town.work("x").registry.champion("town/speeds") == 1


def test_lineage_leads_from_predictions_to_raw_files(town: Town) -> None:
    told = {(e["step"], e["direction"], e["table"]) for e in events(town.work("x").lake, "lineage")}
    assert {
        ("land", "wrote", "bronze/town/speeds"),
        ("clean", "read", "bronze/town/speeds"),
        ("clean", "wrote", "silver/town/speeds"),
        ("features", "read", "silver/town/roads"),
        ("features", "wrote", "gold/town/speeds"),
        ("train", "read", "gold/town/speeds"),
        ("score", "read", "gold/town/speeds"),
        ("score", "wrote", "predictions/town/speeds"),
    } <= told


def test_files_of_the_predictions_lie_under_their_day(town: Town) -> None:
    uris = town.work("x").lake.table("predictions", "town/speeds").delta().file_uris()
    assert all(Path(uri).parent.name.startswith("day=") for uri in uris)


def test_predictions_of_a_day_that_is_made_anew_are_told_to_be_stale_and_stay(town: Town) -> None:
    _score(town, DAYS[4])
    before = town.rows("predictions")
    town.stages("features", days=(DAYS[4],))
    stale = events(town.work("x").lake, "runs", subject="town/speeds", status="stale")
    assert [e["detail"] for e in stale][-1] == f'{{"days": ["{DAYS[4]}"]}}'
    assert town.rows("predictions") == before


def test_files_of_attempts_that_came_to_nothing_are_swept_and_replaced_ones_stay(town: Town) -> None:
    _score(town, DAYS[4], DAYS[5])
    table = town.work("x").lake.table("predictions", "town/speeds")
    before, folder = table.version(), Path(table.uri)
    assert before is not None
    count = table.delta(before).to_pyarrow_table().num_rows
    committed = sorted(path.relative_to(folder) for path in folder.glob("day=*/*.parquet"))
    killed = [folder / f"day={DAYS[n]}" / f"part-00000-20200101T000000Z-score-abcdef-{n}.parquet" for n in (2, 5)]
    late = folder / committed[-1].with_name(f"{committed[-1].stem.rpartition('-')[0]}-deadbeef.parquet")
    killed.append(late)  # an attempt of a run that has committed, which came second
    for path in killed:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half a file")
    _score(town, DAYS[5])
    assert not any(path.exists() for path in killed)
    assert all((folder / path).exists() for path in committed)
    assert table.delta(before).to_pyarrow_table().num_rows == count, "an older version can still be read"


def test_options_that_a_model_does_not_have_from_its_training_are_told(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    _score(town, DAYS[5])
    assert "train again" not in caplog.text
    _score(town, DAYS[5], sets=("score.fallback=time_of_day_mean", "model.window=5"))
    assert "model and score.fallback changed since model 1 was trained" in caplog.text
