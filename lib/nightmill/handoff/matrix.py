"""Reading: from row groups of columns to one row-major float32 matrix, each needed row once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightmill.errors import DataRefused
from nightmill.handoff.files import Storage
from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index
from nightmill.handoff.layout import Copies, Layout

Floats = NDArray[np.float32]
TILE = 4096  # rows; a tile of some 17 columns stays in the second-level cache while it is transposed


@dataclass(frozen=True)
class Matrix:
    """A rank's rows."""

    features: Floats
    """[rows, feature], NaN where a value is missing."""
    target: Floats | None
    """[rows], NaN where it is unknown or lies after the last row."""
    rows_read: int
    """Rows of the row groups that were decoded for it."""


def read_matrix(gold: Pinned, index: Index, layout: Layout, features: Sequence[str], target: str | None) -> Matrix:
    """Reads the rows of a layout; while one row group is transposed, one thread decodes the next.

    Raises DataRefused for a missing or corrupt file, a missing or non-numeric column, and infinite values, naming
    feature, count and an entity.
    """
    matrix = np.empty((layout.rows, len(features)), np.float32)
    aim = None if target is None else np.empty(layout.rows, np.float32)
    columns = [*features, *([] if target is None else [target])]
    infinite, read = np.zeros(len(columns), np.int64), 0
    for table, copies in _tables(gold, layout.copies, columns):
        read += table[0].size
        infinite += _fill(matrix, aim, table, copies)
    if infinite.any():
        _refuse_infinite(infinite, columns, Matrix(matrix, aim, read), index, layout)
    _fill_edges(matrix, aim, layout)
    return Matrix(matrix, aim, read)


def _tables(gold: Pinned, copies: Copies, columns: Sequence[str]) -> Iterator[tuple[list[Floats], Copies]]:
    """The needed row groups as float32 columns, with what is copied from each; the next is read ahead."""
    storage = Storage(gold.uri, gold.storage_options)
    turns = np.flatnonzero((np.diff(copies.file, prepend=-1) != 0) | (np.diff(copies.group, prepend=-1) != 0))
    parts = [slice(int(a), int(b)) for a, b in pairwise([*turns, len(copies.file)])]
    opened: dict[str, pq.ParquetFile] = {}

    def read(part: slice) -> list[Floats]:
        path = gold.files[int(copies.file[part.start])].path
        if path not in opened:
            opened.clear()
            opened[path] = storage.open(path)
        table = storage.read(opened[path], path, int(copies.group[part.start]), columns)
        return [_floats(table.column(name), name, storage.where(path)) for name in columns]

    with ThreadPoolExecutor(1, thread_name_prefix="nightmill-read") as ahead:
        following = ahead.submit(read, parts[0]) if parts else None
        for number, part in enumerate(parts):
            assert following is not None
            table = following.result()
            following = ahead.submit(read, parts[number + 1]) if number + 1 < len(parts) else None
            yield table, _part(copies, part)


def _part(copies: Copies, part: slice) -> Copies:
    return Copies(copies.file[part], copies.group[part], copies.source[part], copies.target[part], copies.length[part])


def _floats(column: pa.ChunkedArray, name: str, where: str) -> Floats:
    """A column as float32, nulls as NaN; without copying where it is float32 without nulls already."""
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        fix = "features are numbers: rebuild the table with the features command"
        raise DataRefused(f"column '{name}' is {kind}, not a number", where=where, fix=fix)
    if kind != pa.float32():
        column = column.cast(pa.float32(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(float("nan"), pa.float32()))
    return column.combine_chunks().to_numpy(zero_copy_only=False) if column.num_chunks else np.zeros(0, np.float32)


def _fill(matrix: Floats, aim: Floats | None, table: list[Floats], copies: Copies) -> NDArray[np.int64]:
    """Transposes the copied rows tile by tile; returns how many infinite values each column brought."""
    count = matrix.shape[1]
    tile, infinite = np.empty((TILE, count), np.float32), np.zeros(len(table), np.int64)
    source = _rows(copies.source, copies.length)
    target = _rows(copies.target, copies.length)
    if aim is not None:
        aim[target] = table[count][source]
        infinite[count] = np.isinf(aim[target]).sum()
    edges = np.searchsorted(source, np.arange(source[0], source[-1] + TILE + 1, TILE))
    for low, high in pairwise(edges):
        if low == high:
            continue
        begin, stop, into = source[low], source[high - 1] + 1, target[low]
        straight = stop - begin == high - low == target[high - 1] + 1 - into
        rows = matrix[into : into + high - low] if straight else tile[: stop - begin]
        for number in range(count):
            rows[:, number] = table[number][begin:stop]
        if not straight:
            rows = rows[source[low:high] - begin]
            matrix[target[low:high]] = rows
        bad = np.isinf(rows)
        if bad.any():
            infinite[:count] += bad.sum(axis=0)
    return infinite


def _rows(first: NDArray[Any], length: NDArray[Any]) -> NDArray[Any]:
    """All rows of stretches, one after the other."""
    return np.repeat(first - (np.cumsum(length) - length), length) + np.arange(int(length.sum()))


def _fill_edges(matrix: Floats, aim: Floats | None, layout: Layout) -> None:
    """Rows that no file holds: blank, padding before a life, the unknown future after it."""
    spans = layout.spans
    matrix[: layout.blank] = 0
    if aim is not None:
        aim[: layout.blank] = np.nan
    for row, before in zip(spans.row[spans.before > 0], spans.before[spans.before > 0], strict=True):
        matrix[row : row + before] = matrix[row + before]
    stop = spans.row + spans.length
    for end, after in zip(stop[spans.after > 0], spans.after[spans.after > 0], strict=True):
        matrix[end - after : end] = 0
        if aim is not None:
            aim[end - after : end] = np.nan


def _refuse_infinite(
    infinite: NDArray[np.int64], columns: Sequence[str], matrix: Matrix, index: Index, layout: Layout
) -> None:
    number = int(np.flatnonzero(infinite)[0])
    width = matrix.features.shape[1]
    values = matrix.features[:, number] if number < width or matrix.target is None else matrix.target
    target = _rows(layout.copies.target, layout.copies.length)
    row = int(target[np.isinf(values[target])].min())
    span = int(np.searchsorted(layout.spans.row, row, "right")) - 1
    entity = index.entities[index.runs.entity[layout.spans.run[span]]]
    what = f"column '{columns[number]}' is infinite in {infinite[number]} rows, as of entity '{entity}'"
    fix = "silver and features must be finite: give the column a range in the data set, or fix the feature"
    raise DataRefused(what, where=index.source, fix=fix)
