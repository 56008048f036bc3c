"""Rows that are asked from tables of others: Delta by path, and tables of Spark's catalog."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession
from town import FIRST, Town

from nightmill.commands import land
from nightmill.errors import DataRefused

pytestmark = pytest.mark.usefixtures("spark")
TARGET = "data/town/speeds"
DAY = timedelta(days=1)
DELTA = ("source.format=delta", 'source.path="${raw}/theirs"', "source.where=\"date = DATE'{day}'\"")


def _land(town: Town, *days: date, sets: tuple[str, ...]) -> object:
    outcome = land(town.work("land", *days, sets=sets), [TARGET])
    for error in outcome.failures.values():
        raise error
    return outcome.results[TARGET]


def _theirs(town: Town, rows: list[tuple[str, date, int, float]], mode: str = "overwrite") -> None:
    """Another team's table: detector, date, hour, speed as a narrow type."""
    table = pa.table(
        {
            "detector": [row[0] for row in rows],
            "ts": [f"{row[1]} {row[2]:02d}:00:00" for row in rows],
            "speed": pa.array([row[3] for row in rows], pa.float32()),
            "date": pa.array([row[1] for row in rows], pa.date32()),
        }
    )
    write_deltalake(str(town.raw / "theirs"), table, mode=mode)  # type: ignore[call-overload]


def _speeds(town: Town) -> list[tuple[object, ...]]:
    return sorted((row["detector"], row["_drop_day"], row["speed"], row["_file"]) for row in town.rows("bronze"))


def test_a_delta_table_of_others_lands_day_by_day(town: Town) -> None:
    _theirs(town, [("a", FIRST, 1, 50.5), ("b", FIRST, 1, 60.5), ("a", FIRST + DAY, 1, 70.5)])
    assert _land(town, FIRST, sets=DELTA).records == 2  # type: ignore[attr-defined]
    name = f"delta:theirs@{FIRST}"
    assert _speeds(town) == [("a", FIRST, 50.5, name), ("b", FIRST, 50.5 + 10, name)]
    _land(town, FIRST + DAY, sets=DELTA)
    assert len(_speeds(town)) == 3


def test_rows_that_did_not_change_are_known_and_changed_ones_correct_their_day(town: Town) -> None:
    _theirs(town, [("a", FIRST, 1, 50.5), ("b", FIRST, 1, 60.5), ("a", FIRST + DAY, 1, 70.5)])
    for day in (FIRST, FIRST + DAY):
        _land(town, day, sets=DELTA)
    # the same rows in another order and other files
    _theirs(town, [("a", FIRST + DAY, 1, 70.5)])
    _theirs(town, [("b", FIRST, 1, 60.5), ("a", FIRST, 1, 50.5)], "append")
    again = _land(town, FIRST, sets=DELTA)
    assert (again.records, again.known) == (0, 1)  # type: ignore[attr-defined]
    _theirs(town, [("a", FIRST, 1, 51.5), ("a", FIRST + DAY, 1, 70.5)])
    assert _land(town, FIRST, sets=DELTA).corrected == 1  # type: ignore[attr-defined]
    assert [(row[0], row[1], row[2]) for row in _speeds(town)] == [("a", FIRST, 51.5), ("a", FIRST + DAY, 70.5)]


def test_a_table_of_the_catalog_lands_by_its_name(town: Town, spark: SparkSession, tmp_path: Path) -> None:
    rows = [("a", f"{FIRST} 01:00:00", 50, FIRST), ("b", f"{FIRST} 01:00:00", 60, FIRST)]
    source = spark.createDataFrame(rows, "detector string, ts string, speed int, date date")
    source.write.mode("overwrite").option("path", str(tmp_path / "catalog")).saveAsTable("their_speeds")
    sets = ("source.format=table", 'source.path=""', "source.table=their_speeds", DELTA[2])
    try:
        assert _land(town, FIRST, sets=sets).records == 2  # type: ignore[attr-defined]
        name = f"table:their_speeds@{FIRST}"
        assert _speeds(town) == [("a", FIRST, 50, name), ("b", FIRST, 60, name)]
    finally:
        spark.sql("DROP TABLE their_speeds")
    with pytest.raises(DataRefused, match="their_speeds") as caught:
        _land(town, FIRST + DAY, sets=sets)
    assert caught.value.where == f"table:their_speeds@{FIRST + DAY}"


@pytest.mark.parametrize(
    "sets, said",
    [
        ((*DELTA[:1], 'source.path="${raw}/elsewhere"', DELTA[2]), "elsewhere"),
        ((*DELTA[:2], "source.where=\"no_column = DATE'{day}'\""), "no_column"),
        ((*DELTA[:2], "source.where=\"date == = DATE'{day}'\""), "cannot be read"),
        ((*DELTA, "contract.columns.flow={type: float}"), "flow"),
        ((*DELTA[:2], "source.where=\"date = DATE'{day}' AND speed > 1000\""), "is empty"),
    ],
)
def test_a_table_that_does_not_give_what_is_asked_is_refused(town: Town, sets: tuple[str, ...], said: str) -> None:
    _theirs(town, [("a", FIRST, 1, 50.5)])
    with pytest.raises(DataRefused, match=said):
        _land(town, FIRST, sets=sets)
    assert not town.work("read").lake.table("bronze", "town/speeds").exists()
