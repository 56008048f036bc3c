"""The rows that windows see, each once, by row group: for what is fitted on them and for looking them over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nightmill.errors import DataRefused
from nightmill.handoff.columns import Values, numbers
from nightmill.handoff.cuts import cut_with_owner, rows_of
from nightmill.handoff.files import Storage
from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index, Ints
from nightmill.handoff.matrix import READERS
from nightmill.handoff.prefetch import side_by_side
from nightmill.handoff.samples import Samples

Floats = NDArray[np.float64]


class Rows(NamedTuple):
    """Origins that are windows of a single row."""

    x: Tensor
    """float32 [b, 1, feature]; NaN where a value is missing."""
    entity: Tensor
    """int64 [b] position in the index' entities."""
    ts: Tensor
    """int64 [b] even times, µs."""


def window_rows(
    gold: Pinned, index: Index, samples: Samples, columns: Sequence[str], *, doubtful: bool = False
) -> Iterator[tuple[Floats, Ints, Ints]]:
    """(values [rows, columns] float64, entity position, ts µs) of the rows in windows, by row group in order.

    With `doubtful` only of row groups that may hold infinite values. Row groups are decoded side by side, in pieces.
    Raises DataRefused, after the last row, where values are infinite: pieces with such values are only counted.
    """
    infinite = _Infinite(np.zeros(len(columns), np.int64))
    stretches = _Stretches.of(index, *_intervals(samples))
    for found, finite, rows, entity, ts in _pieces(gold, stretches, columns, doubtful, READERS):
        values = np.stack([column[rows] for column in found], axis=1, dtype=np.float64)
        if finite or not infinite.seen_in(values, entity):
            yield values, entity, ts
    infinite.refuse(columns, index)


def origin_rows(
    gold: Pinned, index: Index, samples: Samples, columns: Sequence[str], batch: int, *, readers: int = READERS
) -> Iterator[Rows]:
    """All origins of samples that see a single row, at most `batch` at a time, in the order in which they lie in files.

    What `Batches` gives of them without a target, without holding a matrix of all. Memory is reused: rows are valid
    until the next ones are asked for. Raises DataRefused as `window_rows` does.
    """
    if samples.window.lookback != 1:
        raise ValueError(f"windows of {samples.window.lookback} rows are more than their origin")
    infinite = _Infinite(np.zeros(len(columns), np.int64))
    stretches = _Stretches.of(index, samples.first, samples.last + 1)
    # column after column, as they come: small enough to stay in the processor's cache, and matrix products take it so
    into = np.empty((len(columns), batch), np.float32)
    x = torch.from_numpy(into).T.unsqueeze(1)
    for found, finite, rows, entity, ts in _pieces(gold, stretches, columns, False, readers):
        first, together = int(rows[0]), int(rows[-1]) - int(rows[0]) + 1 == len(rows)
        for begin in range(0, len(rows), batch):
            stop = min(begin + batch, len(rows))
            chosen = slice(first + begin, first + stop) if together else rows[begin:stop]
            for number, column in enumerate(found):
                into[number, : stop - begin] = column[chosen]
            if not finite and infinite.seen_in(into[:, : stop - begin].T, entity[begin:stop]):
                continue
            yield Rows(x[: stop - begin], torch.from_numpy(entity[begin:stop]), torch.from_numpy(ts[begin:stop]))
    infinite.refuse(columns, index)


@dataclass(frozen=True)
class _Stretches:
    """Consecutive rows of one run that are consecutive in one row group, in the order of the files."""

    file: Ints
    group: Ints
    row: Ints
    """Of the row group."""
    length: Ints
    entity: Ints
    ts: Ints
    """Even time of the first row, µs."""
    every: int
    """Step between rows, µs."""

    @classmethod
    def of(cls, index: Index, low: Ints, high: Ints) -> _Stretches:
        """Those of the logical rows [low, high), which are apart."""
        segments, runs = index.segments, index.runs
        _, begin, stop, segment = cut_with_owner(low, high, np.append(segments.first, index.rows))
        file, group = segments.file[segment], segments.group[segment]
        row = segments.row[segment] + begin - segments.first[segment]
        run = np.searchsorted(runs.first, begin, "right") - 1
        ts = runs.ts[run] + (begin - runs.first[run]) * index.every_us
        whole = cls(file, group, row, stop - begin, runs.entity[run], ts, index.every_us)
        return whole.take(np.lexsort((row, group, file)))

    def take(self, chosen: slice | Ints) -> _Stretches:
        """The chosen stretches."""
        names = ("file", "group", "row", "length", "entity", "ts")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def by_group(self) -> list[_Stretches]:
        """Those of each row group."""
        new = np.diff(self.file, prepend=-1).astype(bool) | np.diff(self.group, prepend=-1).astype(bool)
        return [self.take(slice(a, b)) for a, b in pairwise([*np.flatnonzero(new).tolist(), len(new)])]

    def rows(self, begin: int, stop: int) -> tuple[Ints, Ints, Ints]:
        """(row, counted from `begin`, entity position, ts) of those in rows [begin, stop) of their one row group."""
        inside = slice(np.searchsorted(self.row + self.length, begin, "right"), np.searchsorted(self.row, stop, "left"))
        first = self.row[inside]
        low = np.maximum(first, begin)
        count = np.minimum(first + self.length[inside], stop) - low
        row = rows_of(low, count)
        ts = np.repeat(self.ts[inside] - first * self.every, count) + row * self.every
        return row - begin, np.repeat(self.entity[inside], count), ts


def _pieces(
    gold: Pinned, stretches: _Stretches, columns: Sequence[str], doubtful: bool, readers: int
) -> Iterator[tuple[list[Values], bool, Ints, Ints, Ints]]:
    """(columns of a piece of a row group, whether they are known to be finite, and of the rows in stretches their row
    in the piece, entity position and ts), where there are any."""
    storage, numeric = Storage(gold.uri, gold.storage_options), numbers("x", columns)

    def read(group: _Stretches) -> Iterator[tuple[list[Values], bool, Ints, Ints, Ints]]:
        pinned, number = gold.files[int(group.file[0])], int(group.group[0])
        path, file = pinned.path, storage.at_hand(pinned)
        finite = storage.finite(file, number, columns).issuperset(columns)
        if finite and doubtful:
            return
        for first, batch in storage.pieces(file, path, number, list(dict.fromkeys(columns))):
            rows, entity, ts = group.rows(first, first + batch.num_rows)
            if len(rows):
                yield numeric.read(batch, storage.where(path)), finite, rows, entity, ts

    yield from side_by_side(stretches.by_group(), read, readers, 1)


def _intervals(samples: Samples) -> tuple[Ints, Ints]:
    """[low, high) logical rows that windows see, merged and ascending."""
    window = samples.window
    low = np.maximum(samples.seen_from, samples.first - window.lookback + 1)
    high = np.minimum(samples.seen_to, samples.last + window.horizon) + 1
    order = np.argsort(low, kind="stable")
    low, high = low[order], np.maximum.accumulate(high[order])
    begin = np.append(True, low[1:] > high[:-1])
    return low[begin], high[np.append(begin[1:], True)]


@dataclass
class _Infinite:
    """Infinite values that were seen."""

    counts: Ints
    """[column] rows."""
    entity: int = -1
    """Position of an entity that has some."""

    def seen_in(self, values: NDArray[Any], entity: Ints) -> bool:
        """Counts those of values [rows, column]; whether there are any."""
        infinite = np.isinf(values)
        if not infinite.any():
            return False
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
