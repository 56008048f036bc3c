"""The rows that windows see, each once, by row group: for what is fitted on them and for looking them over."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightmill.errors import DataRefused
from nightmill.handoff.columns import numbers
from nightmill.handoff.files import Storage
from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index, Ints
from nightmill.handoff.matrix import READERS
from nightmill.handoff.prefetch import side_by_side
from nightmill.handoff.samples import Samples

Floats = NDArray[np.float64]


def window_rows(
    gold: Pinned, index: Index, samples: Samples, columns: Sequence[str], *, doubtful: bool = False
) -> Iterator[tuple[Floats, Ints, Ints]]:
    """(values [rows, columns] float64, entity position, ts µs) of the rows in windows, by row group in order.

    With `doubtful` only of row groups that may hold infinite values. Row groups are decoded side by side, in pieces.
    Raises DataRefused, after the last row, where values are infinite: pieces with such values are only counted.
    """
    low, high = _intervals(samples)
    segments = index.segments
    held = np.searchsorted(high, segments.first, "right"), np.searchsorted(low, segments.first + segments.length)
    touched = np.flatnonzero(held[0] < held[1])
    order = touched[np.lexsort((segments.row[touched], segments.group[touched], segments.file[touched]))]
    storage, numeric = Storage(gold.uri, gold.storage_options), numbers("x", columns)
    infinite = _Infinite(np.zeros(len(columns), np.int64))
    turns = np.diff(segments.file[order], prepend=-1).astype(bool) | np.diff(segments.group[order], prepend=-1).astype(
        bool
    )

    def read(chosen: Ints) -> Iterator[tuple[Floats, Ints, Ints]]:
        pinned, group = gold.files[int(segments.file[chosen[0]])], int(segments.group[chosen[0]])
        path, file = pinned.path, storage.at_hand(pinned)
        finite = storage.finite(file, group, columns).issuperset(columns)
        if finite and doubtful:
            return
        for first, batch in storage.pieces(file, path, group, list(dict.fromkeys(columns))):
            rows, entity, ts = _rows(index, chosen, low, high, first, first + batch.num_rows)
            found = numeric.read(batch, storage.where(path))
            values = np.stack([column[rows] for column in found], axis=1, dtype=np.float64)
            if finite or not infinite.seen_in(values, entity):
                yield values, entity, ts

    yield from side_by_side(np.split(order, np.flatnonzero(turns)[1:]), read, READERS, 1)
    infinite.refuse(columns, index)


def _intervals(samples: Samples) -> tuple[Ints, Ints]:
    """[low, high) logical rows that windows see, merged and ascending."""
    window = samples.window
    low = np.maximum(samples.seen_from, samples.first - window.lookback + 1)
    high = np.minimum(samples.seen_to, samples.last + window.horizon) + 1
    order = np.argsort(low, kind="stable")
    low, high = low[order], np.maximum.accumulate(high[order])
    begin = np.append(True, low[1:] > high[:-1])
    return low[begin], high[np.append(begin[1:], True)]


def _rows(index: Index, chosen: Ints, low: Ints, high: Ints, begin: int, stop: int) -> tuple[Ints, Ints, Ints]:
    """(row, counted from `begin`, entity position, ts in µs) of training rows in rows [begin, stop) of one row group.

    `chosen` are the segments of that row group.
    """
    segments, runs = index.segments, index.runs
    rows, entities, times = (list[Ints]() for _ in range(3))
    row, logical_first = segments.row[chosen], segments.first[chosen]
    inside = np.flatnonzero((row < stop) & (row + segments.length[chosen] > begin))
    for i in inside:
        shift = row[i] - logical_first[i]
        first = logical_first[i] + max(begin - row[i], 0)
        end = min(logical_first[i] + segments.length[chosen[i]], stop - shift)
        run = np.searchsorted(runs.first, first, side="right") - 1
        for k in range(np.searchsorted(high, first, side="right"), np.searchsorted(low, end)):
            logical = np.arange(max(low[k], first), min(high[k], end))
            rows.append(logical + shift - begin)
            entities.append(np.full(len(logical), runs.entity[run]))
            times.append(runs.ts[run] + (logical - runs.first[run]) * index.every_us)
    none = np.empty(0, np.int64)
    return np.concatenate([none, *rows]), np.concatenate([none, *entities]), np.concatenate([none, *times])


@dataclass
class _Infinite:
    """Infinite values that were seen, by several threads."""

    counts: Ints
    """[column] rows."""
    entity: int = -1
    """Position of an entity that has some."""
    _alone: threading.Lock = field(default_factory=threading.Lock)

    def seen_in(self, values: Floats, entity: Ints) -> bool:
        """Counts those of values [rows, column]; whether there are any."""
        infinite = np.isinf(values)
        if not infinite.any():
            return False
        with self._alone:
            self.counts += infinite.sum(axis=0)
            self.entity = int(entity[infinite.any(axis=1).argmax()])
        return True

    def refuse(self, columns: Sequence[str], index: Index) -> None:
        """Raises DataRefused where there were any, naming columns, rows and an entity."""
        named = [f"'{name}' in {many} rows" for name, many in zip(columns, self.counts.tolist()) if many]
        if named:
            what = f"features are infinite: {', '.join(named)}, for instance of '{index.entities[self.entity]}'"
            fix = "correct the source or the cleaning rules, and run clean and features again"
            raise DataRefused(what, where=index.source, fix=fix)
