"""From where a day is predicted: windows that the model can read, and the rest, where a naive rule stands in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightmill.handoff import Index, Samples, Window, select_samples
from nightmill.models.bundle import Bundle

Ints = NDArray[np.int64]

REASONS = ("history", "unknown", "absent")
"""Why the model does not predict, as the predictions table says it in `fallback`. history: fewer rows before the
origin, without a break, than it looks back on; unknown: it tells entities apart and was not trained on this one;
absent: the entity has no row at that time."""
HISTORY, UNKNOWN, ABSENT = range(3)


@dataclass(frozen=True)
class Rest:
    """Origins that the model cannot predict, `every` apart; one array item per stretch, by entity and time."""

    entity: Ints
    """Position in the names."""
    ts: Ints
    """Of the first origin, µs, even times."""
    count: Ints
    """Origins."""
    row: Ints
    """Logical row of the newest row that the first origin knows; -1 where there is none."""
    late: Ints
    """How many rows ago that was."""
    reason: Ints
    """Position in REASONS. Where an entity is absent, all of a stretch know the same row."""

    @property
    def total(self) -> int:
        """Number of origins."""
        return int(self.count.sum())

    def take(self, chosen: NDArray[np.bool_] | Ints | slice) -> Rest:
        """The chosen stretches."""
        return Rest(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def cut(self, size: int) -> list[Rest]:
        """In pieces of about `size` origins."""
        before = np.cumsum(self.count) - self.count
        bounds = np.flatnonzero(np.diff(before // size, prepend=-1))
        return [self.take(part) for part in np.split(np.arange(len(self.ts)), bounds[1:])] if len(bounds) else []

    def each(self, every: int) -> Rest:
        """One stretch per origin."""
        which = np.repeat(np.arange(len(self.ts)), self.count)
        step = np.arange(len(which)) - np.repeat(np.cumsum(self.count) - self.count, self.count)
        here = self.take(which)
        absent = here.reason == ABSENT
        row = np.where(absent | (here.row < 0), here.row, here.row + step)
        return Rest(
            here.entity,
            here.ts + step * every,
            np.ones_like(step),
            row,
            here.late + (absent & (here.row >= 0)) * step,
            here.reason,
        )


class Origins(NamedTuple):
    """Those of one day."""

    samples: Samples
    """Windows that the model predicts."""
    rest: Rest
    names: list[str]
    """Of entities: the index' own, and behind them those of which it has no row."""


class _Day(NamedTuple):
    """A day's rows, by run of the index."""

    first: Ints
    """Logical row of the first."""
    stop: Ints
    """Behind the last; not above `first` where the run has none."""
    latest: int
    """Time of the day's last row of all, µs, even times."""


def find_origins(index: Index, bundle: Bundle, day: tuple[int, int], last_only: bool, by_name: bool) -> Origins | None:
    """The origins in [day), µs, even times; None where no entity has a row then.

    Every row of the day is one, or with `last_only` each entity's last; of forecasts also the times at which an entity
    that has rows shortly before, or that the model knows, has none, up to the day's last row of all. With `by_name`
    entities that the model was not trained on are not for it, if it tells entities apart.
    """
    runs, every, shape = index.runs, index.every_us, bundle.shape
    reach = (shape.lookback - 1) * every
    inside = _rows_of(index, day)
    if inside is None:
        return None
    window = Window(shape.lookback, shape.horizon, shape.pad)
    samples = select_samples(index, window, since=day[0] - reach, until=day[1], with_future=False)
    # a padded window may have its origin before the day: those rows were scored with their own day
    samples = samples.at(np.maximum(samples.first, inside.first[samples.run]), samples.last)
    last_row = np.full(len(index.entities), -1)
    np.maximum.at(last_row, runs.entity, np.where(inside.stop > inside.first, inside.stop - 1, -1))
    if last_only:
        at = last_row[runs.entity[samples.run]]
        keep = (samples.first <= at) & (at == samples.last)
        samples = samples.at(samples.last, samples.last).take(keep)
    else:
        samples = samples.take(samples.first <= samples.last)
    known = bundle.codes(index.entities) > 0
    strange = ~known if by_name and bundle.network.tells_apart else np.zeros_like(known)
    samples = samples.take(~strange[runs.entity[samples.run]])
    names = index.entities
    parts = [_rows_left(index, inside, samples, strange, last_row if last_only else None)]
    if shape.horizon:
        have = set(names)
        more = [name for name in bundle.entities if name not in have]
        names = names + more
        wanted = np.append(known, np.ones(len(more), bool))
        parts.append(_absent(index, inside, day[0], reach, wanted, last_only))
    return Origins(samples, _sorted(parts), names)


def _rows_of(index: Index, day: tuple[int, int]) -> _Day | None:
    runs, every = index.runs, index.every_us
    begin, end = (np.clip(-(-(edge - runs.ts) // every), 0, runs.length) for edge in day)
    if not (begin < end).any():
        return None
    latest = int((runs.ts + (end - 1) * every)[begin < end].max())
    return _Day(runs.first + begin, runs.first + end, latest)


def _rows_left(index: Index, day: _Day, samples: Samples, strange: NDArray[np.bool_], last_row: Ints | None) -> Rest:
    """Rows of the day that are no origin of `samples`: they come before those of their run, or the run has none.

    With `last_row` [entity] only each entity's last.
    """
    runs = index.runs
    stop = day.stop.copy()
    stop[samples.run] = samples.first
    first = day.first
    if last_row is not None:
        at = last_row[runs.entity]
        here = (first <= at) & (at < stop)
        first, stop = np.where(here, at, first), np.where(here, at + 1, first)
    chosen = np.flatnonzero(first < stop)
    entity = runs.entity[chosen]
    ts = runs.ts[chosen] + (first[chosen] - runs.first[chosen]) * index.every_us
    reason = np.where(strange[entity], UNKNOWN, HISTORY)
    return Rest(entity, ts, (stop - first)[chosen], first[chosen], np.zeros_like(chosen), reason)


def _absent(index: Index, day: _Day, start: int, reach: int, wanted: NDArray[np.bool_], last_only: bool) -> Rest:
    """Times from `start` to the day's last row at which entities have no row.

    `wanted` [name] says of which entities also the time before their first row counts; those without any row are known
    by it alone. Rows more than `reach` µs before `start` count for nothing: files hold some of them by chance.
    """
    runs, every, latest = index.runs, index.every_us, day.latest
    end = runs.ts + (runs.length - 1) * every
    near = np.flatnonzero(end >= start - reach)
    end, begin, of = end[near], runs.ts[near], runs.entity[near]
    # behind each run, to the next one of its entity
    same = np.append(np.diff(of) == 0, False)
    until = np.minimum(np.where(same, np.append(begin[1:], 0), latest + every), latest + every)
    late = np.maximum(1, -(-(start - end) // every))
    row = (runs.first + runs.length - 1)[near]
    count = -(-(until - end) // every) - late
    after = Rest(of, end + late * every, count, row, late, np.full_like(late, ABSENT))
    after = after.take(after.count > 0)
    # before the first run of an entity, and where there is none
    begins = np.append(True, np.diff(of) != 0)
    first = np.full(len(wanted), latest + every)
    first[of[begins]] = np.minimum(begin[begins], latest + every)
    count = np.where(wanted, np.maximum(first - start, 0) // every, 0)
    entity = np.flatnonzero(count)
    none = np.full_like(entity, -1)
    before = Rest(entity, first[entity] - count[entity] * every, count[entity], none, none * 0, none * 0 + ABSENT)
    if not last_only:
        return _sorted([after, before])
    # only entities without a row in the day, once, at its last time
    rows = np.zeros(len(wanted), bool)
    rows[runs.entity[day.first < day.stop]] = True
    both = _sorted([after, before])
    both = both.take(~rows[both.entity])
    both = both.take(np.append(np.diff(both.entity) != 0, True) if len(both.ts) else slice(0))
    return replace(
        both,
        ts=both.ts + (both.count - 1) * every,
        late=np.where(both.row < 0, 0, both.late + both.count - 1),
        count=np.ones_like(both.count),
    )


def _sorted(parts: list[Rest]) -> Rest:
    whole = Rest(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rest.__dataclass_fields__))
    return whole.take(np.lexsort((whole.ts, whole.entity)))
