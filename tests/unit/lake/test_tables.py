"""Where tables lie and what their logs say."""

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, write_deltalake

from nightmill.errors import DataRefused, MachineError
from nightmill.lake.tables import Lake, Table


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Lake.open(str(tmp_path)).table("silver", "city/traffic")


def _write(table: Table, days: list[int], mode: str = "append", note: dict[str, object] | None = None) -> int:
    data = pa.table({"day": pa.array([date(2026, 3, d) for d in days], pa.date32())})
    properties = CommitProperties(custom_metadata={"nightmill": json.dumps(note)}) if note else None
    write_deltalake(table.uri, data, mode=mode, commit_properties=properties)  # type: ignore[arg-type]
    version = table.version()
    assert version is not None
    return version


def test_a_table_that_was_never_written_does_not_exist_and_says_what_to_run(table: Table) -> None:
    assert not table.exists()
    assert table.version() is None
    assert table.note() == {}
    with pytest.raises(DataRefused, match="silver/city/traffic does not exist") as raised:
        table.delta()
    assert "nightmill clean" in raised.value.fix


def test_changed_days_are_those_of_added_and_removed_files(table: Table) -> None:
    first = _write(table, [1, 2])
    second = _write(table, [2, 3])
    assert table.changed_days(first, second) == {date(2026, 3, 2), date(2026, 3, 3)}
    third = _write(table, [9], mode="overwrite")
    assert table.changed_days(second, third) == {date(2026, 3, d) for d in (1, 2, 3, 9)}
    assert table.changed_days(third, third) == set()
    assert table.changed_days(None, third) is None


def test_changed_days_are_unknown_once_the_removed_files_are_vacuumed(table: Table) -> None:
    first = _write(table, [1])
    second = _write(table, [2], mode="overwrite")
    table.delta().vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert table.changed_days(first, second) is None


def test_the_note_of_the_newest_commit_that_has_one_is_told(table: Table) -> None:
    _write(table, [1], note={"run": "a"})
    _write(table, [2], note={"run": "b"})
    _write(table, [3])
    assert table.note() == {"run": "b"}


def test_a_lake_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    with pytest.raises(MachineError, match="lake cannot be used"):
        Lake.open(str(tmp_path / "lake"))


def test_a_damaged_log_is_refused_by_name(table: Table) -> None:
    _write(table, [1])
    Path(table.uri, "_delta_log", "00000000000000000000.json").write_text("{not json")
    with pytest.raises(DataRefused, match="silver/city/traffic cannot be read"):
        table.delta()


def test_statistics_tell_which_days_a_table_may_hold(table: Table) -> None:
    assert not table.may_hold({date(2026, 3, 1)})
    _write(table, [1, 3])
    assert table.may_hold({date(2026, 3, 2)}), "between the first and the last day of a file nothing is known"
    assert not table.may_hold({date(2026, 3, 4), date(2026, 3, 9)})
    assert not table.may_hold(set())
