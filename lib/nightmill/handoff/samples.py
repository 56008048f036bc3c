"""Which windows of an index are samples: pure arithmetic on runs, nothing is read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from nightmill.config import UseCase
from nightmill.handoff.cuts import cut_with_owner
from nightmill.handoff.index import Index, Ints


@dataclass(frozen=True)
class Window:
    """What a model sees of the past and must say of the future, counted from the origin: the last row it knows."""

    lookback: int
    """Rows seen, the origin included."""
    horizon: int
    """Rows to predict after the origin; 0: the target of the origin itself."""
    pad: bool = False
    """Histories shorter than lookback repeat their first row on the left, so that every row can be an origin."""
    reach: int = 0
    """µs after the origin that its target speaks of, where that is of the origin's own row: a split in time leaves them
    out before each part."""

    @classmethod
    def of(cls, use_case: UseCase) -> Window:
        """What a use case's model sees and predicts; only a value of now may rest on a padded history.

        Where what is unusual is looked for it may not: a padded history is.
        """
        target = use_case.target
        horizon, reach = target.horizon or 0, target.event.within if target.event else timedelta(0)
        return cls(
            use_case.model.window,
            horizon,
            pad=horizon == 0 and use_case.task != "detect",
            reach=reach // timedelta(microseconds=1),
        )

    def __post_init__(self) -> None:
        if self.lookback < 1 or self.horizon < 0:
            raise ValueError(f"lookback must be at least 1 and horizon at least 0, not {self.lookback}, {self.horizon}")


@dataclass(frozen=True)
class Samples:
    """Origins of windows, as intervals of logical rows in logical order; sample k is the k-th origin.

    One array item per interval; `seen_from` … `seen_to` are the rows of its run that its windows may touch.
    """

    run: Ints
    """Position in the index' runs."""
    first: Ints
    """Logical row of the first origin."""
    last: Ints
    """Logical row of the last origin."""
    seen_from: Ints
    """First logical row that windows may see; what lies before is padding."""
    seen_to: Ints
    """Last logical row that targets may be taken from; what lies after is unknown."""
    window: Window
    """Lookback and horizon."""

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(self.edges[-1])

    @property
    def edges(self) -> Ints:
        """Sample number at which each interval begins, and at the end the count."""
        return np.concatenate([[0], np.cumsum(self.last - self.first + 1)]).astype(np.int64)

    def take(self, chosen: NDArray[np.bool_] | Ints) -> Samples:
        """The chosen intervals."""
        names = ("run", "first", "last", "seen_from", "seen_to")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def as_they_lie(self, index: Index) -> Samples:
        """The same samples in the order of files, row groups and rows, so that a stretch of them is one of the table.

        For windows of a single row: longer ones reach into other files anyhow.
        """
        segments = index.segments
        owner, low, stop, segment = cut_with_owner(self.first, self.last + 1, np.append(segments.first, index.rows))
        place = segments.row[segment] + low - segments.first[segment]
        order = np.lexsort((place, segments.group[segment], segments.file[segment]))
        return self.take(owner[order]).at(low[order], stop[order] - 1)

    def thinned(self, most: int) -> Samples:
        """The same samples, or evenly spaced ones of them where they are more than `most`."""
        stride = -(-self.count // most)
        if stride == 1:
            return self
        edges = self.edges
        number = np.arange(stride // 2, self.count, stride)
        interval = np.searchsorted(edges, number, side="right") - 1
        origin = self.first[interval] + number - edges[interval]
        return self.take(interval).at(origin, origin)

    def at(self, first: Ints, last: Ints) -> Samples:
        """The same intervals with other origins."""
        return replace(self, first=first, last=last)


def select_samples(
    index: Index,
    window: Window,
    *,
    since: int | Ints | None = None,
    until: int | Ints | None = None,
    entities: Collection[str] | None = None,
    last_only: bool = False,
    with_future: bool = True,
    reach_back: bool = False,
) -> Samples:
    """All windows whose past and future rows lie in one run and in [since, until), even times, of all or of each run.

    With `reach_back` only what is to be predicted lies there, and the past wherever it does. `entities` keeps only
    those named. `last_only` keeps each entity's last possible origin. `with_future=False`
    is for scoring: the rows to predict need not exist. With `window.pad` rows before the run or before `since` are
    replaced by the first row that may be seen. May be empty.
    """
    runs, every = index.runs, index.every_us
    skipped = np.zeros_like(runs.ts) if since is None else np.clip(_steps(since - runs.ts, every), 0, runs.length)
    stop = runs.length if until is None else np.clip(_steps(until - runs.ts, every), 0, runs.length)
    begin, seen_to = runs.first + skipped, runs.first + stop - 1
    seen_from = runs.first if reach_back else begin
    first = seen_from if window.pad else seen_from + window.lookback - 1
    if reach_back:
        first = np.maximum(first, begin - (1 if window.horizon else 0))
    last = seen_to - (window.horizon if with_future else 0)
    keep = first <= last
    if entities is not None:
        wanted = set(entities)
        keep &= np.array([name in wanted for name in index.entities], bool)[runs.entity]
    everything = Samples(np.arange(len(runs.ts)), first, last, seen_from, seen_to, window)
    chosen = everything.take(keep)
    if last_only and len(chosen.run):
        entity = runs.entity[chosen.run]
        chosen = chosen.take(np.append(np.diff(entity) != 0, True))
        chosen = chosen.at(chosen.last, chosen.last)
    return chosen


def _steps(distance: Ints, every: int) -> Ints:
    """Rows of a run that lie before a time that is `distance` µs after its first row."""
    return -(-distance // every)
