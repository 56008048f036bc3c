"""One pass over a table in the order of its files, without windows: for models of single rows, fits and statistics.

Row groups are decoded side by side and given in order; what is held are a few pieces of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from nightmill.errors import DataRefused
from nightmill.handoff.columns import MUST_BE_FINITE, Values, numbers
from nightmill.handoff.files import Storage
from nightmill.handoff.gold import Pinned, PinnedFile
from nightmill.handoff.matrix import READERS, transpose
from nightmill.handoff.prefetch import side_by_side
from nightmill.handoff.rows import tensor

HELD = 4
"""Pieces of a row group that wait, at most, until the groups before it have been taken."""


def row_batches(gold: Pinned, columns: Sequence[str], batch: int, *, readers: int = READERS) -> Iterator[Tensor]:
    """float32 [b, column] of all rows, b = `batch` but for the last one; NaN where a value is missing.

    Memory is reused: a batch is valid until the next one is asked for. Raises DataRefused for a missing or corrupt
    file, a column that is missing or no number, and infinite values.
    """
    _require(columns, batch)
    rows = torch.empty((batch, len(columns)))  # small enough to stay in the processor's cache from here to its reader
    filled, into = 0, rows.numpy()
    for piece in _pieces(gold, columns, readers):
        at, count = 0, len(piece[0])
        while at < count:
            stop = min(count, at + batch - filled)
            transpose([column[at:stop] for column in piece], into[filled:])
            filled, at = filled + stop - at, stop
            if filled == batch:
                yield rows
                filled = 0
    if filled:
        yield rows[:filled]


def column_batches(
    gold: Pinned, columns: Sequence[str], batch: int, *, readers: int = READERS
) -> Iterator[list[Tensor]]:
    """As `row_batches`, a tensor [b] for each column: Arrow's own memory wherever a batch lies in one piece."""
    _require(columns, batch)
    held = [torch.empty(batch) for _ in columns]
    filled = 0
    for piece in _pieces(gold, columns, readers):
        found = [tensor(column) for column in piece]
        at, count = 0, len(found[0])
        while at < count:
            whole = (count - at) // batch * batch if not filled else 0
            if whole:
                yield from map(list, zip(*(column[at : at + whole].split(batch) for column in found), strict=True))
                at += whole
                continue
            stop = min(count, at + batch - filled)
            for into, column in zip(held, found, strict=True):
                into[filled : filled + stop - at] = column[at:stop]
            filled, at = filled + stop - at, stop
            if filled == batch:
                yield held
                filled = 0
    if filled:
        yield [column[:filled] for column in held]


def _require(columns: Sequence[str], batch: int) -> None:
    if isinstance(columns, str) or not columns or batch < 1:
        raise ValueError(f"columns are a list of names, and batch is at least 1, not {columns!r}, {batch}")


def _pieces(gold: Pinned, columns: Sequence[str], readers: int) -> Iterator[list[Values]]:
    """Columns [rows] of pieces of row groups, in order."""
    storage, field = Storage(gold.uri, gold.storage_options), numbers("x", columns)

    def read(task: tuple[PinnedFile, int]) -> Iterator[list[Values]]:
        path, group = task[0].path, task[1]
        file = storage.at_hand(task[0])
        finite = storage.finite(file, group, columns).issuperset(columns)
        for _, rows in storage.pieces(file, path, group, list(dict.fromkeys(columns))):
            values = field.read(rows, storage.where(path))
            if not finite and any(np.isinf(column).any() for column in values):
                raise _Infinite
            yield values

    tasks = [(file, group) for file in gold.files for group, rows in enumerate(file.groups) if rows]
    try:
        yield from side_by_side(tasks, read, readers, HELD)
    except _Infinite:
        raise _refused(gold, columns) from None


class _Infinite(Exception):
    """A piece has an infinite value; how many there are in all is counted then."""


def _refused(gold: Pinned, columns: Sequence[str]) -> DataRefused:
    """Names the columns that are infinite, with how many rows of the table and the first file."""
    storage, field, wanted = (
        Storage(gold.uri, gold.storage_options),
        numbers("x", columns),
        list(dict.fromkeys(columns)),
    )
    counts, first = np.zeros(len(columns), np.int64), ""
    for pinned in gold.files:
        file = storage.open(pinned)
        for group in range(len(pinned.groups)):
            if storage.finite(file, group, columns).issuperset(columns):
                continue
            for _, rows in storage.pieces(file, pinned.path, group, wanted):
                counts += [np.isinf(column).sum() for column in field.read(rows, storage.where(pinned.path))]
                first = first or (pinned.path if counts.any() else "")
    named = ", ".join(f"'{name}' in {many} rows" for name, many in zip(columns, counts.tolist()) if many)
    return DataRefused(f"columns are infinite: {named}", where=storage.where(first), fix=MUST_BE_FINITE)
