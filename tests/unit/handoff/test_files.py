"""Opening and reading Parquet files, whoever wrote them."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightmill.errors import DataRefused
from nightmill.handoff import files
from nightmill.handoff.files import Storage
from nightmill.handoff.gold import PinnedFile

MIB = 2**20


def written(folder: Path, table: pa.Table, **options: object) -> tuple[Storage, PinnedFile]:
    pq.write_table(table, folder / "part.parquet", **options)  # type: ignore[arg-type]
    meta = pq.read_metadata(folder / "part.parquet")
    groups = tuple(meta.row_group(number).num_rows for number in range(meta.num_row_groups))
    return Storage(str(folder)), PinnedFile("part.parquet", os.path.getsize(folder / "part.parquet"), groups)


def images(count: int, size: int) -> pa.Table:
    values = np.random.default_rng(0).integers(0, 256, count * size, dtype=np.uint8)
    offsets = pa.py_buffer((np.arange(count + 1) * size).astype(np.int32))
    return pa.table({"image": pa.Array.from_buffers(pa.binary(), count, [None, offsets, pa.py_buffer(values)])})


def test_pieces_are_bounded_in_rows_and_in_bytes(tmp_path):
    storage, pinned = written(tmp_path, images(3000, 12 * 1024))
    file = storage.open(pinned)
    pieces = list(storage.pieces(file, pinned.path, 0, ["image"]))
    assert max(rows.nbytes for _, rows in pieces) <= files.PIECE_BYTES * 1.05
    assert [first for first, _ in pieces] == np.cumsum([0, *(rows.num_rows for _, rows in pieces[:-1])]).tolist()
    assert sum(rows.num_rows for _, rows in pieces) == 3000

    narrow, pinned = written(tmp_path, pa.table({"x": np.zeros(300_000, np.float32)}))
    sizes = [rows.num_rows for _, rows in narrow.pieces(narrow.open(pinned), pinned.path, 0, ["x"])]
    assert sizes == [files.PIECE, files.PIECE, 300_000 - 2 * files.PIECE]


def test_a_large_row_group_is_never_held_as_a_whole(tmp_path):
    storage, pinned = written(tmp_path, images(12_000, 12 * 1024), compression="none")
    assert len(pinned.groups) == 1 and pinned.size > 2 * files.LARGE_GROUP
    gc.collect()
    before, most = pa.total_allocated_bytes(), 0
    file = storage.open(pinned)
    for _, rows in storage.pieces(file, pinned.path, 0, ["image"]):
        most = max(most, pa.total_allocated_bytes() - before)
        del rows
    assert most < 4 * files.PIECE_BYTES


def test_the_values_of_a_large_row_group_are_those_of_a_small_one(tmp_path, monkeypatch):
    table = pa.table({"x": np.random.default_rng(0).normal(size=200_000), "name": pa.array(["a", "b"] * 100_000)})
    storage, pinned = written(tmp_path, table)
    monkeypatch.setattr(files, "LARGE_GROUP", 1000)
    read = [rows for _, rows in storage.pieces(storage.open(pinned, ["name"]), pinned.path, 0, ["x", "name"])]
    found = pa.Table.from_batches(read)
    assert pa.types.is_dictionary(found.schema.field("name").type)
    assert found.cast(table.schema).equals(table)


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_that_is_written_as_deltas_comes_as_text(tmp_path, encoding):
    table = pa.table({"name": ["a", "b", "b"]})
    storage, pinned = written(tmp_path, table, use_dictionary=False, column_encoding={"name": encoding})
    ((_, rows),) = storage.pieces(storage.open(pinned, ["name"]), pinned.path, 0, ["name"])
    assert rows.column(0).to_pylist() == ["a", "b", "b"]


def test_a_file_of_another_size_is_refused_though_it_has_as_many_rows(tmp_path):
    storage, pinned = written(tmp_path, pa.table({"x": np.arange(100.0)}))
    written(tmp_path, pa.table({"x": np.zeros(100)}))
    with pytest.raises(DataRefused, match="bytes and 100 rows; the table says .* and 100 rows"):
        storage.open(pinned)


def test_a_column_that_is_missing_is_refused_also_where_it_should_be_a_dictionary(tmp_path):
    storage, pinned = written(tmp_path, pa.table({"x": [1.0]}))
    with pytest.raises(DataRefused, match="no column 'entity'") as found:
        next(storage.pieces(storage.open(pinned, ["entity"]), pinned.path, 0, ["entity"]))
    assert "part.parquet" in found.value.where and "ask for one of: x" in found.value.fix
