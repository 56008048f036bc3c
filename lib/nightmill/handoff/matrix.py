"""Filling a share's rows: from columns of row groups to row-major arrays, each row once, several files at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nightmill.errors import DataRefused
from nightmill.handoff.columns import MUST_BE_FINITE, Field, Values
from nightmill.handoff.cuts import cut_with_owner, rows_of
from nightmill.handoff.files import Storage
from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index, Ints
from nightmill.handoff.layout import Copies, Layout

TILE = 4096
"""Rows; a tile of some 17 columns stays in the second-level cache while it is transposed."""
READERS = min(4, os.cpu_count() or 1)
"""Files that are decoded at the same time."""
SHORT = 16
"""Stretches of fewer rows are copied by number, longer ones each by itself."""
Arrays = Mapping[str, Values]
"""Field -> [rows, width]."""


@dataclass
class _Found:
    """What filling one file brought."""

    rows: int
    infinite: dict[str, NDArray[np.int64]]
    """Field -> infinite values of each of its columns."""


def fill(
    gold: Pinned,
    index: Index,
    layout: Layout,
    fields: Sequence[Field],
    arrays: Arrays,
    readers: int = READERS,
    done: Callable[[], None] = lambda: None,
) -> int:
    """Fills all rows of a layout; returns how many rows were decoded for it. `done` is called after each piece.

    Raises DataRefused for a missing or corrupt file, a missing column or one of the wrong type, and infinite values,
    naming column, count and an entity.
    """
    storage = Storage(gold.uri, gold.storage_options)
    turns = np.flatnonzero(np.diff(layout.copies.file, prepend=-1) != 0)
    parts = [slice(int(a), int(b)) for a, b in pairwise([*turns, len(layout.copies.file)])]
    with ThreadPoolExecutor(readers, thread_name_prefix="nightmill-read") as pool:
        found = list(
            pool.map(lambda part: _fill_file(storage, gold, layout.copies.take(part), fields, arrays, done), parts)
        )
    for field in fields:
        infinite = np.sum([one.infinite[field.name] for one in found], axis=0, initial=0)
        if np.any(infinite):
            _refuse_infinite(field, infinite, arrays[field.name], index, layout)
    _fill_edges(layout, fields, arrays)
    return sum(one.rows for one in found)


def _fill_file(
    storage: Storage,
    gold: Pinned,
    copies: Copies,
    fields: Sequence[Field],
    arrays: Arrays,
    done: Callable[[], None],
) -> _Found:
    pinned = gold.files[int(copies.file[0])]
    path = pinned.path
    where = storage.where(path)
    coded = [name for field in fields if field.vocabularies for name in field.columns]
    file = storage.open(pinned, coded)
    wanted = list(dict.fromkeys(name for field in fields for name in field.columns))
    found = _Found(0, {field.name: np.zeros(len(field.columns), np.int64) for field in fields})
    turns = np.flatnonzero(np.diff(copies.group, prepend=-1) != 0)
    for low, high in pairwise([*turns, len(copies.group)]):
        of_group = copies.take(slice(int(low), int(high)))
        group = int(of_group.group[0])
        finite = storage.finite(file, group, wanted)
        for first, rows in storage.pieces(file, path, group, wanted):
            inside = of_group.within(first, first + rows.num_rows)
            found.rows += rows.num_rows
            for field in fields if len(inside.source) else ():
                columns, into = field.read(rows, where), arrays[field.name]
                if field.array or field.width == 1:
                    for source, target, length in zip(*inside.plain()):
                        into[target : target + length] = columns[0][source : source + length].reshape(length, -1)
                else:
                    _scatter(columns, into, inside)
                if np.issubdtype(into.dtype, np.floating) and not finite.issuperset(field.columns):
                    found.infinite[field.name] += _infinite(columns, inside)
            done()
    return found


def _scatter(columns: list[Values], into: Values, copies: Copies) -> None:
    """Copies stretches of columns into a row-major array, tile by tile."""
    edges = np.arange(0, len(columns[0]) + TILE, TILE)
    owner, low, high, cell = cut_with_owner(copies.source, copies.source + copies.length, edges)
    order = np.argsort(cell, kind="stable")
    target = (copies.target[owner] + low - copies.source[owner])[order]
    low, high, cell = low[order], high[order], cell[order]
    tile = np.empty((TILE, len(columns)), into.dtype)
    turns = np.flatnonzero(np.diff(cell, prepend=-1) != 0)
    for a, b in pairwise([*turns.tolist(), len(cell)]):
        begin, stop = int(low[a:b].min()), int(high[a:b].max())
        whole = b - a == 1  # all of it stays together: no second copy
        rows = into[target[a] : target[a] + stop - begin] if whole else tile[: stop - begin]
        transpose([column[begin:stop] for column in columns], rows)
        if whole:
            continue
        if stop - begin < SHORT * (b - a):
            length = high[a:b] - low[a:b]
            into[rows_of(target[a:b], length)] = rows[rows_of(low[a:b] - begin, length)]
            continue
        for source, end, place in zip((low[a:b] - begin).tolist(), (high[a:b] - begin).tolist(), target[a:b].tolist()):
            into[place : place + end - source] = rows[source:end]


def transpose(columns: list[Values], into: Values) -> None:
    """Writes columns [rows] into the first rows of a row-major array, tile by tile."""
    for begin in range(0, len(columns[0]), TILE):
        rows = into[begin : begin + TILE]
        for number, column in enumerate(columns):
            part = column[begin : begin + TILE]
            rows[: len(part), number] = part


def _infinite(columns: list[Values], copies: Copies) -> NDArray[np.int64]:
    """In how many rows each column is infinite."""
    used = np.zeros(len(columns[0]), bool)
    used[rows_of(copies.source, copies.length)] = True
    rows = (np.isinf(column[used]).reshape(int(used.sum()), -1) for column in columns)
    return np.array([each.any(axis=1).sum() for each in rows], np.int64)


def _fill_edges(layout: Layout, fields: Sequence[Field], arrays: Arrays) -> None:
    """Rows that no file holds: blank ones, padding before a life, the unknown future after it."""
    spans = layout.spans
    stop = spans.row + spans.length
    for field in fields:
        into = arrays[field.name]
        into[: layout.blank] = field.blank
        for row, before in _longer(spans.row, spans.before):
            into[row : row + before] = into[row + before] if layout.repeat else field.blank
        for end, after in _longer(stop, spans.after):
            into[end - after : end] = field.blank


def _longer(row: Ints, length: Ints) -> Iterator[tuple[int, int]]:
    return zip(row[length > 0].tolist(), length[length > 0].tolist(), strict=True)


def _bad(rows: Values) -> NDArray[np.bool_]:
    return np.asarray(np.isinf(rows).any(axis=1))


def _refuse_infinite(field: Field, infinite: NDArray[np.int64], values: Values, index: Index, layout: Layout) -> None:
    number, *others = np.flatnonzero(infinite).tolist()
    rows = values if field.array else values[:, number : number + 1]
    pieces = range(layout.blank, layout.rows, TILE)
    row = next(begin + int(bad.argmax()) for begin in pieces if (bad := _bad(rows[begin : begin + TILE])).any())
    what = f"column '{field.columns[number]}' is infinite in {infinite[number]} rows that were read"
    what += f", as of entity '{layout.entity(index, row)}'"
    what += "".join(f"; '{field.columns[other]}' in {infinite[other]}" for other in others)
    raise DataRefused(what, where=index.source, fix=MUST_BE_FINITE)
