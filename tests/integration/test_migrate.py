"""Tables that an older version or another contract wrote are told apart, and become what this version expects."""

from __future__ import annotations

import json
import tarfile
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from town import FIRST, Town, readings

from nightmill import commands
from nightmill.clean import write_refused
from nightmill.errors import DataRefused
from nightmill.privacy import KEY

pytestmark = pytest.mark.usefixtures("spark")
TARGET = ["data/town/speeds"]
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
OLD = Path(__file__).parents[1] / "fixtures" / "lake-of-0.1.tar.gz"
"""Three days of the town, landed and cleaned before records in quarantine had numbers: two records and a file are in
quarantine."""


def _run(town: Town, stage: str, *days: date, sets: tuple[str, ...] = ()) -> object:
    outcome = getattr(commands, stage)(town.work(stage, *days, sets=sets), TARGET)
    for error in outcome.failures.values():
        raise error
    return outcome.results[TARGET[0]]


def _drops_of_the_old_lake(town: Town) -> None:
    town.history(3)
    lines = readings(DAYS[1])
    lines[3], lines[7] = "a,2026-03-03 01:30:00,999", "a,tomorrow,5"
    town.drop(DAYS[1], lines)


def test_a_lake_of_an_older_version_is_refused_until_it_is_migrated(town: Town) -> None:
    with tarfile.open(OLD) as archive:
        archive.extractall(town.folder, filter="data")
    _drops_of_the_old_lake(town)
    before = {name: town.table(name).num_rows for name in ("bronze", "silver", "quarantine")}
    for stage in ("land", "clean"):
        with pytest.raises(DataRefused) as refused:
            _run(town, stage, *DAYS)
        assert refused.value.fix == "run `nightmill migrate data/town/speeds`"
        assert "an older version" in refused.value.what
    done = _run(town, "migrate").done  # type: ignore[attr-defined]
    assert [line.split(":")[0] for line in done] == ["quarantine/town/speeds", "bronze/town/speeds"]
    assert _run(town, "migrate").done == []  # type: ignore[attr-defined]
    assert _run(town, "land", *DAYS).known == 3  # type: ignore[attr-defined]
    total = _run(town, "clean").total()  # type: ignore[attr-defined]
    assert (total.parsed, total.accepted, dict(total.refused)) == (432, 430, {"time": 1, "between": 1})
    assert {name: town.table(name).num_rows for name in before} == before
    records = [row for row in town.rows("quarantine") if row["stage"] == "clean"]
    assert all(len(row["record"]) == 16 for row in records)
    assert _run(town, "land", DAYS[0]).known == 1  # type: ignore[attr-defined]


def test_the_numbers_that_migration_gives_are_those_of_cleaning(town: Town) -> None:
    with tarfile.open(OLD) as archive:
        archive.extractall(town.folder, filter="data")
    _run(town, "migrate")
    given = {row["original"]: row["record"] for row in town.rows("quarantine") if row["stage"] == "clean"}
    _run(town, "clean")
    assert {row["original"]: row["record"] for row in town.rows("quarantine") if row["stage"] == "clean"} == given


@pytest.mark.slow
def test_another_zone_puts_bronze_and_corrections_on_other_days(town: Town, tmp_path: Path) -> None:
    """0:30 in Berlin is the day before in New York, in bronze, in silver and for a corrected record."""
    town.drop(FIRST, ["a,2026-03-02 12:00:00,50", "b,2026-03-02 00:30:00,fast", "c,2026-03-02 00:30:00,7"])
    _run(town, "land", FIRST)
    half = ("clean.max_refused=50 %",)
    _run(town, "clean", sets=half)
    path = tmp_path / "refused.csv"
    write_refused(town.work("show").lake, town.configuration().data_set(TARGET[0]), path)
    path.write_text(path.read_text().replace("fast", "30"))
    work = town.work("clean", sets=half)
    work.replay, work.corrections = True, path
    assert not commands.clean(work, TARGET).failures
    moved = (*half, "contract.time.zone=America/New_York", 'contract.time.format="yyyy-MM-dd HH:mm:ss"')
    earlier = (*moved, "contract.time.stamp=end", "contract.time.every=60 min")
    with pytest.raises(DataRefused, match="another contract"):
        _run(town, "clean", sets=earlier)
    done = _run(town, "migrate", sets=earlier).done  # type: ignore[attr-defined]
    assert done[0] == "quarantine/town/speeds: 1 corrections are put on their days"
    _run(town, "clean", sets=earlier)
    days = {row["detector"]: row["day"] for row in town.rows("silver")}
    assert days == {"a": FIRST, "b": FIRST - timedelta(days=1), "c": FIRST - timedelta(days=1)}
    assert {row["_record_day"] for row in town.rows("bronze")} == {FIRST, FIRST - timedelta(days=1)}


def test_a_column_that_becomes_personal_is_protected_in_what_has_landed(
    town: Town, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    monkeypatch.setenv(KEY, "a long random text of a test")
    town.drop(FIRST, ["alice,2026-03-02 12:00:00,50", "bob,2026-03-02 12:00:00,fast"])
    _run(town, "land", FIRST)
    _run(town, "clean")
    personal = ("contract.columns.detector={type: text, personal: pseudonym}",)
    for stage in ("land", "clean"):
        with pytest.raises(DataRefused, match="column 'detector' landed without protection"):
            _run(town, stage, FIRST, sets=personal)
    _run(town, "migrate", sets=personal)
    _run(town, "clean", sets=personal)
    for layer in ("bronze", "silver", "quarantine"):
        text = json.dumps(town.rows(layer), default=str)
        assert "alice" not in text and "bob" not in text, layer
    assert all(len(row["detector"]) == 32 for row in town.rows("bronze"))
    with pytest.raises(DataRefused, match="landed as pseudonym, and the contract now wants it as it is delivered"):
        _run(town, "land", FIRST)
