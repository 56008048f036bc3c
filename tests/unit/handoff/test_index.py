from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from nightmill.config.values import Months
from nightmill.errors import DataRefused
from nightmill.handoff import Index, build_index, pin
from nightmill.handoff.gold import Pinned, PinnedFile

from .conftest import EVERY, STEP, series, table_of, unhurried


def index_at(uri: str) -> Index:
    return build_index(pin(uri), EVERY)


def runs(index: Index) -> list[tuple[str, int, int, int]]:
    """(entity, first step, rows, first logical row) of each run."""
    r = index.runs
    names = [index.entities[code] for code in r.entity]
    return list(zip(names, (r.ts // STEP).tolist(), r.length.tolist(), r.first.tolist(), strict=True))


def test_days_in_several_files_join_to_one_run_per_entity(gold):
    day1, day2 = (
        series("a", range(0, 3)) + series("b", range(0, 3)),
        series("a", range(3, 5)) + series("b", range(3, 5)),
    )
    assert runs(index_at(gold(day1, day2))) == [("a", 0, 5, 0), ("b", 0, 5, 5)]


def test_a_gap_ends_a_run(gold):
    rows = series("a", range(0, 3)) + series("a", range(4, 6))
    assert runs(index_at(gold(rows))) == [("a", 0, 3, 0), ("a", 4, 2, 3)]


def at_times(folder: Path, times: list[datetime]) -> str:
    table = pa.table({"entity": ["a"] * len(times), "ts": pa.array(times, pa.timestamp("us", "UTC"))})
    write_deltalake(str(folder / "gold"), table)
    return str(folder / "gold")


def test_local_days_and_months_are_one_run_over_changes_of_the_clocks(tmp_path):
    zone = ZoneInfo("Europe/Berlin")
    days = [datetime(2026, 3, 27, tzinfo=zone) + timedelta(days=n) for n in range(5)]  # on the wall: of 23 hours, too
    index = build_index(pin(at_times(tmp_path / "days", days)), timedelta(days=1), "Europe/Berlin")
    assert index.runs.length.tolist() == [5]
    assert index.clock.real(index.runs.ts).tolist() == [round(days[0].timestamp() * 1e6)]
    months = [datetime(2026, n, 1, tzinfo=zone) for n in (1, 2, 3, 5)]
    index = build_index(pin(at_times(tmp_path / "months", months)), Months(1), "Europe/Berlin")
    assert index.runs.length.tolist() == [3, 1]
    assert index.clock.real(index.runs.ts).tolist() == [round(months[n].timestamp() * 1e6) for n in (0, 3)]


def test_a_missing_day_ends_a_run(gold):
    assert runs(index_at(gold(series("a", range(0, 3)), series("a", range(6, 9))))) == [("a", 0, 3, 0), ("a", 6, 3, 3)]


def test_rows_closer_than_a_step_are_runs_of_their_own(gold):
    index = index_at(gold(series("a", range(0, 2)), [("a", 1.5, 0, 0)]))
    assert index.runs.ts.tolist() == [0, int(1.5 * STEP)]
    assert index.runs.length.tolist() == [2, 1]


def test_segments_say_where_each_logical_row_lies(gold):
    uri = gold(series("a", range(0, 2)) + series("b", range(0, 2)), series("a", range(2, 3)), rows_per_group=3)
    pinned = pin(uri)
    index, rows = build_index(pinned, EVERY), []
    s = index.segments
    for file, group, row, length in zip(s.file, s.group, s.row, s.length, strict=True):
        table = pq.ParquetFile(Path(uri, pinned.files[file].path)).read_row_group(group).slice(row, length)
        rows += zip(table.column("entity").to_pylist(), table.column("x").to_pylist(), strict=True)
    assert rows == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]


def test_entities_are_sorted_by_name_over_all_files(gold):
    index = index_at(gold(series("m", range(2)), series("b", range(2)), series("z", range(2)), series("é", range(2))))
    assert index.entities == ["b", "m", "z", "é"]


def test_files_that_take_turns_are_put_in_order(gold):
    odd, even = [("a", step, step, 0) for step in (1, 3, 5)], [("a", step, step, 0) for step in (0, 2, 4)]
    assert runs(index_at(gold(odd, even))) == [("a", 0, 6, 0)]


def test_a_run_that_falls_into_a_longer_one_is_put_in_order(gold):
    index = index_at(gold(series("a", range(0, 6)), [("a", 2.5, 0, 0)]))
    assert (index.runs.ts / STEP).tolist() == [0, 2.5, 3]
    assert index.runs.length.tolist() == [3, 1, 3]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_row_in_two_files_is_refused_naming_entity_and_time(gold, step):
    with pytest.raises(DataRefused, match=f"'b' has two rows at 1970-01-01 00:{5 * step:02}:00 UTC"):
        index_at(gold(series("a", range(3)) + series("b", range(3)), [("b", step, 0, 0)]))


def test_a_row_twice_in_a_file_is_refused_naming_file_entity_and_time(gold):
    with pytest.raises(DataRefused, match=r"'a' has two rows at 1970-01-01 00:05:00 UTC") as refused:
        index_at(gold([("a", 0, 0, 0), ("a", 1, 0, 0), ("a", 1, 0, 0)]))
    assert refused.value.where.endswith(".parquet")


@pytest.mark.parametrize("rows_per_group", [None, 1])
@pytest.mark.parametrize(
    "rows",
    [
        [("a", 1, 0, 0), ("a", 0, 0, 0)],
        [("b", 0, 0, 0), ("a", 0, 0, 0)],
        [("a", 5, 0, 0), ("b", 1, 0, 0), ("a", 6, 0, 0)],
    ],
)
def test_an_unsorted_file_is_refused_naming_entity_and_time(gold, rows, rows_per_group):
    with pytest.raises(DataRefused, match="not sorted: entity 'a' at 1970"):
        index_at(gold(rows, rows_per_group=rows_per_group))


def test_an_empty_table_is_refused(tmp_path):
    uri = str(tmp_path / "gold")
    write_deltalake(uri, table_of(series("a", range(1))).slice(0, 0))
    with pytest.raises(DataRefused, match="no rows"):
        index_at(uri)


def test_rows_without_entity_or_time_are_refused(gold, tmp_path):
    table = table_of(series("a", range(2)))
    for number, name in enumerate(("entity", "ts")):
        nulls = pa.array([None, None], table.schema.field(name).type)
        uri = str(tmp_path / f"gold{number}")
        write_deltalake(uri, table.set_column(number, name, nulls))
        with pytest.raises(DataRefused, match=f"2 rows have no {name}"):
            index_at(uri)


def test_wrong_or_missing_key_columns_are_refused(tmp_path):
    table = table_of(series("a", range(2)))
    write_deltalake(str(tmp_path / "numbers"), table.set_column(0, "entity", pa.array([1, 1])))
    with pytest.raises(DataRefused, match="entity must be text"):
        index_at(str(tmp_path / "numbers"))
    write_deltalake(str(tmp_path / "missing"), table.drop_columns(["ts"]))
    with pytest.raises(DataRefused, match="no column 'ts'"):
        index_at(str(tmp_path / "missing"))


@unhurried
@given(
    st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=40),
    st.integers(1, 5),
)
def test_any_sorted_files_give_the_runs_of_the_sorted_rows(tmp_path_factory, cells, rows_per_group):
    where = {(name, step): file for name, step, file in sorted(cells)}  # one file per row
    folder, files = tmp_path_factory.mktemp("gold"), []
    for number in range(3):
        rows = [(name, step, 0.0, 0.0) for name, step in sorted(where) if where[name, step] == number]
        if rows:
            path = folder / f"{number}.parquet"
            pq.write_table(table_of(rows), path, row_group_size=rows_per_group)
            meta = pq.read_metadata(path)
            groups = tuple(meta.row_group(i).num_rows for i in range(meta.num_row_groups))
            files.append(PinnedFile(path.name, path.stat().st_size, groups))
    index = build_index(Pinned(str(folder), 0, tuple(files)), EVERY)
    expected: list[list[int | str]] = []
    for row, (name, step) in enumerate(sorted(where)):
        if expected and expected[-1][0] == name and expected[-1][1] + expected[-1][2] == step:
            expected[-1][2] += 1
        else:
            expected.append([name, step, 1, row])
    assert runs(index) == [tuple(run) for run in expected]
    assert np.array_equal(index.segments.first, np.cumsum(index.segments.length) - index.segments.length)


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_entities_of_any_encoding_are_read(tmp_path, encoding):
    uri = tmp_path / "gold"
    write_deltalake(str(uri), table_of(series("a", range(2)) + series("b", range(3))))
    (place,) = uri.glob("*.parquet")
    place.unlink()
    table = table_of(series("a", range(2)) + series("b", range(3)))
    pq.write_table(table, place, use_dictionary=False, column_encoding={"entity": encoding})
    groups = (5,)
    found = build_index(Pinned(str(uri), 0, (PinnedFile(place.name, place.stat().st_size, groups),)), EVERY)
    assert runs(found) == [("a", 0, 2, 0), ("b", 0, 3, 2)]


def test_times_between_microseconds_are_refused_naming_the_file(tmp_path):
    place = tmp_path / "part.parquet"
    pq.write_table(pa.table({"entity": ["a"], "ts": pa.array([1001], pa.timestamp("ns", "UTC"))}), place)
    with pytest.raises(DataRefused, match="between microseconds") as found:
        build_index(Pinned(str(tmp_path), 0, (PinnedFile(place.name, place.stat().st_size, (1,)),)), EVERY)
    assert "part.parquet" in found.value.where


def test_runs_go_on_over_the_pieces_of_a_row_group(gold, monkeypatch):
    from nightmill.handoff import files

    whole = index_at(gold(series("a", range(50)) + series("b", range(3, 60))))
    monkeypatch.setattr(files, "PIECE", 7)
    monkeypatch.setattr(files.Storage.pieces, "__defaults__", (7,))
    pieces = index_at(gold())
    assert runs(pieces) == runs(whole) and len(pieces.segments.first) > len(whole.segments.first)


def test_a_doubled_row_is_named_also_in_the_far_future(gold):
    with pytest.raises(DataRefused, match="two rows at 11476-0"):
        index_at(gold([("a", 1e9, 1.0, 1.0), ("a", 1e9, 1.0, 1.0)]))


def test_a_table_without_the_entity_in_its_files_is_refused(tmp_path):
    write_deltalake(str(tmp_path / "gold"), table_of(series("a", range(3))), partition_by=["entity"])
    with pytest.raises(DataRefused, match="no column 'entity'"):
        index_at(str(tmp_path / "gold"))
