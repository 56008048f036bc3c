"""Which rows a rank keeps, and where: from its samples to rows of its matrix. Pure arithmetic, nothing is read.

Rows are counted in the logical order of the index. A window may reach before the first row that it may see (padding)
or after the last one (unknown future); such rows get a place in the matrix too, so that every window is a plain slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nightmill.handoff.cuts import cut, cut_with_owner
from nightmill.handoff.index import Index, Ints
from nightmill.handoff.samples import Samples

STRIDES = 4
"""Pieces of a bucket that are tried one after the other; where there are more they are bisected."""


@dataclass(frozen=True)
class Spans:
    """Stretches of consecutive matrix rows; one array item each, in order."""

    row: Ints
    """Matrix row of the span's first row."""
    length: Ints
    """Matrix rows."""
    before: Ints
    """Rows at its begin that repeat the first one after them: padding."""
    after: Ints
    """Rows at its end that do not exist: the future of the last origins."""
    run: Ints
    """Position in the index' runs."""


@dataclass(frozen=True)
class Copies:
    """What is copied from where: stretches of a row group, ordered by file, row group and row."""

    file: Ints
    group: Ints
    source: Ints
    """First row in the row group."""
    target: Ints
    """First row in the matrix."""
    length: Ints

    def take(self, part: slice | NDArray[np.bool_]) -> Copies:
        """Some of them."""
        return Copies(self.file[part], self.group[part], self.source[part], self.target[part], self.length[part])

    def within(self, first: int, stop: int) -> Copies:
        """Of one row group what lies in its rows [first, stop), counted from `first`."""
        low, high = np.maximum(self.source, first), np.minimum(self.source + self.length, stop)
        inside = low < high
        low, high, one = low[inside], high[inside], self.take(inside)
        return Copies(one.file, one.group, low - first, one.target + low - one.source, high - low)

    def plain(self) -> tuple[list[int], list[int], list[int]]:
        """Source, target and length of each."""
        return self.source.tolist(), self.target.tolist(), self.length.tolist()


@dataclass(frozen=True)
class Layout:
    """A rank's matrix: `blank` empty rows that padding samples point at, then the spans."""

    blank: int
    spans: Spans
    copies: Copies
    rows: int
    """Matrix rows in all."""
    sample: Ints
    """Number of the first sample of each piece, ascending; within a piece samples are consecutive rows of one run."""
    at_zero: Ints
    """[piece, 4]: matrix row of the origin, entity, ts and age as they were if the piece began with sample 0."""
    per_sample: Ints
    """[4]: by how much each of them grows from sample to sample."""
    repeat: bool
    """Whether rows before a span repeat its first one; else they are blank."""

    def entity(self, index: Index, row: int) -> str:
        """The entity that a matrix row is of, for messages."""
        span = int(np.searchsorted(self.spans.row, row, "right")) - 1
        return index.entities[index.runs.entity[self.spans.run[span]]]

    def places(self, samples: Ints) -> Ints:
        """[4, …] matrix row of the origin, entity, ts and age of samples […]; anything where there is no such one."""
        found = np.zeros((4, *samples.shape), np.int64)
        if len(self.sample):
            first = self.at_zero.take(self.pieces_of(samples), axis=0)
            for number, grows in enumerate(self.per_sample.tolist()):
                np.multiply(samples, grows, out=found[number])
                found[number] += first[..., number]
        return found

    def pieces_of(self, samples: Ints) -> Ints:
        """The piece that each sample lies in, or any where there is no such sample."""
        begins, most = self._begins
        if most > STRIDES:
            return np.maximum(np.searchsorted(self.sample, samples, "right") - 1, 0)
        piece = begins[np.clip((samples - self.sample[0]) >> self._shift, 0, len(begins) - 1)]
        for _ in range(most):
            following = np.minimum(piece + 1, len(self.sample) - 1)
            piece = np.where(self.sample[following] <= samples, following, piece)
        return piece

    @cached_property
    def _shift(self) -> int:
        """Samples of a bucket, as a power of two: about as many buckets as four times the pieces."""
        return max(0, int(self.sample[-1] - self.sample[0]) // (4 * len(self.sample))).bit_length()

    @cached_property
    def _begins(self) -> tuple[Ints, int]:
        """Piece at the begin of each bucket, and the most pieces that begin inside one: quicker than bisection."""
        edges = np.arange(self.sample[0], self.sample[-1] + (1 << self._shift), 1 << self._shift)
        begins = np.searchsorted(self.sample, edges, "right") - 1
        return begins, int(np.diff(begins, append=len(self.sample) - 1).max(initial=0))

    @property
    def kept(self) -> int:
        """Rows copied from the files."""
        return int(self.copies.length.sum())


def lay_out(index: Index, samples: Samples, held: tuple[int, int], future: int) -> Layout:
    """The rows that samples [first, stop) need, each once per run; `future` rows after an origin are needed too."""
    lookback = samples.window.lookback
    interval, begin, stop = cut(np.array(held[:1]), np.array(held[1:]), samples.edges)
    origin = samples.first[interval] + begin - samples.edges[interval]
    low, high = origin - (lookback - 1), origin + (stop - begin - 1) + future
    new = np.ones(len(begin), bool)
    new[1:] = (np.diff(interval) != 0) | (low[1:] > high[:-1] + 1)
    span = np.cumsum(new) - 1
    opening, closing = np.flatnonzero(new), np.flatnonzero(np.append(new[1:], True)[: len(new)])
    low, high, owner = low[opening], high[closing], interval[opening]
    blank = lookback + max(future, 1)
    row = blank + np.cumsum(high - low + 1) - (high - low + 1)
    seen_low, seen_high = np.maximum(low, samples.seen_from[owner]), np.minimum(high, samples.seen_to[owner])
    runs, run = index.runs, samples.run[interval]
    age, per_sample = origin - runs.first[run] + 1, np.array([1, 0, index.every_us, 1])
    places = [row[span] + origin - low[span], runs.entity[run], runs.ts[run] + (age - 1) * index.every_us, age]
    first = np.stack(places, axis=1)
    return Layout(
        blank=blank,
        spans=Spans(row, high - low + 1, seen_low - low, high - seen_high, samples.run[owner]),
        copies=_copies(index, seen_low, seen_high + 1, row + seen_low - low),
        rows=blank + int((high - low + 1).sum()),
        sample=begin,
        at_zero=first - begin[:, None] * per_sample,
        per_sample=per_sample,
        repeat=samples.window.pad,
    )


def _copies(index: Index, start: Ints, stop: Ints, target: Ints) -> Copies:
    segments = index.segments
    owner, low, high, segment = cut_with_owner(start, stop, np.append(segments.first, index.rows))
    file, group = segments.file[segment], segments.group[segment]
    source = segments.row[segment] + low - segments.first[segment]
    order = np.lexsort((source, group, file))
    aim = target[owner] + low - start[owner]
    file, group, source, aim, length = (array[order] for array in (file, group, source, aim, high - low))
    new = np.ones(len(file), bool)  # stretches that go on where the one before ended are one
    new[1:] = (np.diff(file) != 0) | (np.diff(group) != 0) | (source[1:] != (source + length)[:-1])
    new[1:] |= aim[1:] != (aim + length)[:-1]
    begin = np.flatnonzero(new)
    length = np.add.reduceat(length, begin) if len(begin) else length
    return Copies(file[begin], group[begin], source[begin], aim[begin], length)
