"""Windows of further inputs, whose rows come at steps of their own: what was known as of a sample's origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nightmill.errors import DataRefused
from nightmill.handoff.cache import Cache
from nightmill.handoff.columns import numbers
from nightmill.handoff.cuts import cut
from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index, Ints
from nightmill.handoff.layout import lay_out
from nightmill.handoff.rows import hold, row_bytes, sliding
from nightmill.handoff.samples import Samples, Window


@dataclass(frozen=True)
class Side:
    """A further input: rows of another table, or other rows of the same one."""

    gold: Pinned
    index: Index
    columns: Sequence[str]
    """Columns of numbers."""
    lookback: int
    """Rows up to the last one whose time is not after the origin (less `delay`)."""
    ahead: int = 0
    """Rows after it, of what is known before it happens: calendars, forecasts, plans."""
    delay: int = 0
    """µs that pass until a row is known."""
    entities: Mapping[str, str] | None = None
    """Entity of the samples -> entity of this table. Without it the same name, or the table's only entity."""

    def __post_init__(self) -> None:
        if self.lookback < 1 or self.ahead < 0 or self.delay < 0:
            raise ValueError("a side input has a lookback of at least 1, and neither ahead nor delay are negative")


class SideRows:
    """The rows of a side input that a share's samples see; NaN where a row is missing or not in the same run."""

    def __init__(
        self,
        side: Side,
        index: Index,
        samples: Samples,
        held: tuple[int, int],
    ) -> None:
        self.side, self.rows, self.width = side, side.lookback + side.ahead, len(side.columns)
        self._entity, runs, every = _matched(side, index), side.index.runs, side.index.every_us
        self._clock = index.clock
        mine, theirs = self._here(np.array(index.span)), side.index.span
        self._base = int(min(theirs[0], mine[0])) - side.delay
        self._steps = (int(max(theirs[1], mine[1])) - self._base) // every + 1
        self._keys = runs.entity * self._steps + (runs.ts - self._base) // every
        self._seen = self._rows_seen(index, samples, held)
        self._numbers = self._seen.edges
        self._layout = lay_out(side.index, self._seen, (0, self._seen.count), side.ahead)
        self._fields = [numbers("x", side.columns, blank=float("nan"))]
        self.bytes = self._layout.rows * row_bytes(self._fields)

    def hold(self, memory: int | None, cache: Cache | None) -> None:
        """Reads the rows; to be called once, before `gather`."""
        self._held = hold(self.side.gold, self.side.index, self._layout, self._fields, memory, cache)
        self._windows = sliding(self._held.arrays["x"], self.rows)

    def gather(self, entity: Ints, ts: Ints, count: int, into: Tensor) -> None:
        """Windows of the first `count` of some samples [b], blank ones for the rest; into [b, rows, width]."""
        row = self._as_of(self._entity[entity[:count]], self._here(ts[:count]))
        seen, layout, start = self._seen, self._layout, np.zeros(len(into), np.int64)  # the blank rows stand first
        known = row >= 0
        if known.any():
            interval = np.searchsorted(seen.first, row[known], "right") - 1
            number = self._numbers[interval] + row[known] - seen.first[interval]
            start[:count][known] = layout.places(number)[0] - (self.side.lookback - 1)
        torch.index_select(self._windows, 0, torch.from_numpy(start), out=into.view(len(into), self.rows * self.width))
        self._held.used()

    def _here(self, ts: Ints) -> Ints:
        """The side's own times of the samples' times."""
        theirs = self.side.index.clock
        return ts if theirs == self._clock else theirs.even(self._clock.real(ts))

    def _as_of(self, mine: Ints, ts: Ints) -> Ints:
        """Logical row of the last one that is known of these entities at these times; -1 where there is none."""
        runs, every, moment = self.side.index.runs, self.side.index.every_us, ts - self.side.delay
        run = np.searchsorted(self._keys, mine * self._steps + (moment - self._base) // every, "right") - 1
        while (late := (run >= 0) & (runs.entity[run] == mine) & (runs.ts[run] > moment)).any():
            run = run - late  # it begins in the same step, and after the moment
        row = runs.first[run] + np.minimum((moment - runs.ts[run]) // every, runs.length[run] - 1)
        return np.where((mine >= 0) & (run >= 0) & (runs.entity[run] == mine), row, -1)

    def _rows_seen(self, index: Index, samples: Samples, held: tuple[int, int]) -> Samples:
        """The rows that are the last known one of some sample, as an interval of each run."""
        interval, begin, stop = cut(np.array(held[:1]), np.array(held[1:]), samples.edges)
        origin, run = samples.first[interval] + begin - samples.edges[interval], samples.run[interval]
        ts = index.runs.ts[run] + (origin - index.runs.first[run]) * index.every_us
        mine, runs = self._entity[index.runs.entity[run]], self.side.index.runs
        last = ts + (stop - begin - 1) * index.every_us
        low, high = self._as_of(mine, self._here(ts)), self._as_of(mine, self._here(last))
        # at the first moments nothing may be known yet
        low = np.maximum(low, np.append(runs.first, 0)[np.searchsorted(runs.entity, np.maximum(mine, 0))])
        cell, first, last = cut(low, high + 1, np.append(runs.first, self.side.index.rows))
        chosen, place = np.unique(cell, return_inverse=True)
        lowest, highest = np.full(len(chosen), np.iinfo(np.int64).max), np.full(len(chosen), -1)
        np.minimum.at(lowest, place, first)
        np.maximum.at(highest, place, last - 1)
        begin, end = runs.first[chosen], runs.first[chosen] + runs.length[chosen] - 1
        return Samples(chosen, lowest, highest, begin, end, Window(self.side.lookback, self.side.ahead))


def _matched(side: Side, index: Index) -> Ints:
    """Position in the side's entities of each entity of the samples, -1 where it has none."""
    there = {name: number for number, name in enumerate(side.index.entities)}
    if side.entities is not None:
        return np.array([there.get(side.entities.get(name, ""), -1) for name in index.entities], np.int64)
    found = np.array([there.get(name, -1) for name in index.entities], np.int64)
    if (found < 0).all():
        if len(there) > 1:
            what = f"no entity is in both tables: '{index.entities[0]}' is not, and here are {len(there)}"
            raise DataRefused(what, where=side.index.source, fix="say which entity belongs to which")
        found = np.zeros(len(index.entities), np.int64)
    return found
