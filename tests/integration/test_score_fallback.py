"""Where the model cannot predict a naive rule does, and says so; no origin is left out silently."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession
from town import FIRST, HEADER, Town, found, readings

from nightmill.commands import explain, monitor, score
from nightmill.score.table import SCHEMA

pytestmark = pytest.mark.usefixtures("spark")
DAYS = [FIRST + timedelta(days=n) for n in range(7)]
PATCHY = DAYS[6]
EACH = ("score.origins=each",)


def _patchy(line: str) -> bool:
    """c is silent all day, b from 10:00 to 13:00, d begins at 06:00."""
    name, when, _ = line.split(",")
    hour = int(when[11:13])
    return name == "a" or (name == "b" and not 10 <= hour < 13) or (name == "d" and hour >= 6)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Town:
    town = found(tmp_path_factory.mktemp("patchy"))
    with (town.folder / "conf/town/speeds.yaml").open("a") as use_case:
        use_case.write("monitor: {above: 70}\n")
    town.history(6)
    town.stages("land", "clean", "features", "train", days=tuple(DAYS[:6]))
    town.work("x").registry.promote("town/speeds", 1)
    town.drop(PATCHY, [line for line in readings(PATCHY, "abcd") if _patchy(line)], header=HEADER)
    town.stages("land", "clean", "features", days=(PATCHY,))
    return town


def _scored(town: Town, *days: date, sets: tuple[str, ...] = EACH) -> Any:
    outcome = score(town.work("score", *days, sets=sets), ["town/speeds"])
    for error in outcome.failures.values():
        raise error
    return outcome.results["town/speeds"][-1]


def _rows(town: Town, keep: Callable[[dict[str, Any]], bool] = lambda _: True) -> list[dict[str, Any]]:
    return [row for row in town.table("predictions").to_pylist() if row["day"] == PATCHY and keep(row)]


def _at(hour: int, minute: int = 0) -> datetime:
    return datetime(PATCHY.year, PATCHY.month, PATCHY.day, hour, minute, tzinfo=ZoneInfo("Europe/Berlin"))


def test_every_detector_has_every_step_of_the_day(town: Town) -> None:
    scored = _scored(town, PATCHY)
    rows = _rows(town)
    told = Counter((row["entity"], row["fallback"]) for row in rows if row["horizon"] == 1)
    assert told == {
        ("a", None): 48,
        ("b", None): 48 - 6 - 3, ("b", "absent"): 6, ("b", "history"): 3,
        ("c", "absent"): 48,
        ("d", "unknown"): 36,
    }  # fmt: skip
    assert scored.rows == len(rows) and scored.fallbacks == 2 * (6 + 3 + 48 + 36) and scored.missing == 0
    assert scored.entities == 4
    assert all(row["lo"] <= row["value"] <= row["hi"] for row in rows)


def test_the_rule_is_the_stated_one_from_the_newest_value_there_is(town: Town) -> None:
    _scored(town, PATCHY)
    truth = {(r["entity"], r["ts"]): r["target"] for r in town.table("gold").to_pylist()}
    for row in _rows(town, lambda row: row["entity"] == "b" and row["fallback"] == "absent"):
        assert row["value"] == truth["b", _at(9, 30)]
    for row in _rows(town, lambda row: row["fallback"] in ("history", "unknown")):
        assert row["value"] == truth[row["entity"], row["ts"]]
    last = max(ts for entity, ts in truth if entity == "c")
    early = _rows(town, lambda row: row["entity"] == "c" and row["ts"] == last + timedelta(minutes=30))
    assert {row["value"] for row in early} == {truth["c", last]}


def test_the_last_origin_of_a_silent_detector_is_that_of_the_others(town: Town) -> None:
    _scored(town, PATCHY, sets=())
    told = {(row["entity"], row["ts"], row["fallback"]) for row in _rows(town)}
    end = _at(23, 30)
    assert told == {("a", end, None), ("b", end, None), ("c", end, "absent"), ("d", end, "unknown")}


def test_without_a_fallback_what_is_missing_is_counted(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    scored = _scored(town, PATCHY, sets=(*EACH, "score.fallback=none"))
    assert (scored.fallbacks, scored.missing) == (0, 6 + 3 + 48 + 36)
    assert not _rows(town, lambda row: row["fallback"] is not None)
    assert "nothing is predicted from 93 origins" in caplog.text


def test_live_error_is_that_of_the_model_and_many_fallbacks_are_an_alarm(town: Town) -> None:
    _scored(town, PATCHY)
    work = town.work("monitor", PATCHY)
    result = monitor(work, ["town/speeds"]).results["town/speeds"]
    result = result[-1] if isinstance(result, list) else result
    (alarm,) = (alarm for alarm in result.alarms if alarm.figure.kind == "fallback")
    assert alarm.figure.value == pytest.approx(93 / (48 * 3 + 36)) and "186 of 360 predictions" in alarm.figure.what


def test_explaining_says_that_it_was_the_fallback(town: Town) -> None:
    _scored(town, PATCHY)
    told = explain(town.work("explain", PATCHY), ["town/speeds"], "c").results["town/speeds"]
    assert [one["fallback"] for one in told.values] == ["absent"] * 2


def test_predictions_beyond_a_limit_are_labelled_and_scored(town: Town) -> None:
    _scored(town, PATCHY)
    rows = _rows(town)
    assert {row["label"] for row in rows} == {None, "alarm"}
    for row in rows:
        assert row["score"] == pytest.approx(row["value"] / 70, rel=1e-6)
        assert (row["label"] == "alarm") == (row["value"] > 70)


def test_a_table_of_an_older_version_gets_the_columns_that_are_new(town: Town, tmp_path: Path) -> None:
    table = town.work("x").lake.table("predictions", "town/speeds")
    old = pa.schema([field for field in SCHEMA if field.name != "fallback"])
    _scored(town, DAYS[5], PATCHY)
    earlier = table.delta().to_pyarrow_table().select(old.names)
    write_deltalake(table.uri, earlier.cast(old), mode="overwrite", schema_mode="overwrite", partition_by=["day"])
    assert "fallback" not in table.delta().to_pyarrow_table().column_names
    assert monitor(town.work("monitor", PATCHY), ["town/speeds"]).exit_code == 0
    _scored(town, PATCHY)
    rows = table.delta().to_pyarrow_table().to_pylist()
    assert {row["fallback"] for row in rows if row["day"] == DAYS[5]} == {None}
    assert {row["fallback"] for row in rows if row["day"] == PATCHY} == {None, "absent", "history", "unknown"}
    assert len(rows) == earlier.num_rows
