"""Which sample comes when, on which rank: a pure function of samples, batch, seed, epoch and world size.

    samples     |...........................................|   in their own order: by entity and time, or as files lie
    lanes       |  0  |  1  |  2  | …                  | 63 |   cut into 64 stretches of the same length
    batch s     a slice of every lane                           so a batch holds samples from everywhere
    rank r      a stretch of neighbouring lanes                 so a rank reads one stretch of the table
    epoch e     blocks of a lane permuted, then samples within a few blocks: what is at work fits into memory

Lane l holds floor((N + p(l)) / 64) samples and has given floor((s B + p(l)) / 64) of them before step s, where p is a
permutation of 0 … 63. By Hermite's identity, sum over l of floor((m + l) / 64) = m, every batch holds exactly B samples
and the last one the rest; p spreads the lanes that give one more. Neither lanes nor orders know the world size.
(Elastic determinism and the order within an epoch after MosaicML Streaming: its canonical nodes and `py1br`.)
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightmill.errors import ConfigError
from nightmill.handoff.index import Ints
from nightmill.handoff.samples import Samples

MIXED = 2**19
"""Samples, over all lanes, among which those of the next batches are drawn; smaller tables are mixed whole."""
BLOCKS = 8
"""Blocks of a lane that are mixed with each other."""
CHUNK = 32_768
"""Samples whose order is worked out at a time."""
_ORDER = 2
"""Raised when the same plan comes to mean another order."""


class Step(NamedTuple):
    """What one rank does in one step; all its steps have the same size."""

    samples: Ints
    """Sample numbers [b]; -1 where the batch is padded, always at its end."""
    weight: NDArray[np.float32]
    """1 for a sample, 0 for padding [b]."""


class Plan:
    """The order of samples over steps and ranks; every sample exactly once per epoch, equal steps on all ranks.

    `batch` samples per step over all ranks; the samples of rank 0, 1, … in this order are the same for every world.
    With shuffle=False samples come in their own order, each of `world` ranks reading one stretch of them: for
    evaluation and scoring. Raises ConfigError for a world larger than the lanes.
    """

    def __init__(
        self,
        samples: Samples,
        batch: int,
        seed: int,
        world: int = 1,
        *,
        shuffle: bool = True,
        lanes: int = 64,
        mixed: int = MIXED,
    ) -> None:
        if batch < 1 or world < 1 or batch != int(batch):
            raise ValueError(f"batch and world must be whole numbers from 1 on, not {batch}, {world}")
        if shuffle and world > lanes:
            fix = f"train with at most {lanes} workers"
            raise ConfigError(f"{world} workers are more than the {lanes} lanes of the plan", where="workers", fix=fix)
        self.samples, self.batch, self.seed, self.world, self.shuffle = samples, batch, seed, world, shuffle
        self.lanes = lanes if shuffle else world
        self.mixed = max(self.lanes * BLOCKS, mixed)
        self.count = samples.count
        self.steps = -(-self.count // batch)
        self._late = _spread(self.lanes)
        self._edges = np.concatenate([[0], np.cumsum((self.count + self._late) // self.lanes)])

    @property
    def hash(self) -> str:
        """Equal for plans that give the same batches, whatever the world size (with shuffle)."""
        samples = self.samples
        digest = hashlib.sha256()
        for array in (samples.run, samples.first, samples.last, samples.seen_from, samples.seen_to):
            digest.update(np.ascontiguousarray(array, "<i8").tobytes())
        window = samples.window
        parts = [_ORDER, window.lookback, window.horizon, window.pad, self.batch, self.seed, self.lanes, self.mixed]
        digest.update(json.dumps([*parts, self.shuffle]).encode())
        return digest.hexdigest()[:16]

    def lanes_of(self, rank: int) -> range:
        """Numbers of the rank's lanes."""
        return range(rank * self.lanes // self.world, (rank + 1) * self.lanes // self.world)

    def size_of(self, rank: int) -> int:
        """Samples and padding of the rank in every step."""
        late = self._late[list(self.lanes_of(rank))]
        period = np.arange(min(self.steps, self.lanes // gcd(self.batch, self.lanes)) + 1)[:, None]
        given = (period * self.batch + late) // self.lanes
        return int(np.diff(given, axis=0).sum(axis=1).max(initial=0))

    def range_of(self, rank: int) -> tuple[int, int]:
        """The rank's samples, [first, stop), in every epoch the same."""
        lanes = self.lanes_of(rank)
        return int(self._edges[lanes.start]), int(self._edges[lanes.stop])

    def rank(self, rank: int, epoch: int, start_step: int = 0) -> Iterator[Step]:
        """The rank's steps of an epoch, from `start_step` on."""
        for steps in self.chunks(rank, epoch, start_step):
            yield from map(Step, steps.samples, steps.weight)

    def chunks(self, rank: int, epoch: int, start_step: int = 0) -> Iterator[Step]:
        """As `rank`, some steps at a time, so that small ones cost less: both arrays are [steps, b]."""
        lanes = list(self.lanes_of(rank))
        orders = [self._lane(lane, epoch) for lane in lanes]
        late, length, size = self._late[lanes], np.diff(self._edges)[lanes], self.size_of(rank)
        many = max(1, CHUNK // max(size, 1))
        for begin in range(start_step, self.steps, many):
            steps = np.arange(begin, min(begin + many, self.steps) + 1)[:, None]
            given = np.minimum((steps * self.batch + late) // self.lanes, length)
            counts = np.diff(given, axis=0)
            ends = zip(orders, given[0].tolist(), given[-1].tolist(), strict=True)
            found = np.concatenate([order.take(low, high) for order, low, high in ends])
            if len(counts) > 1:  # found lane by lane, wanted step by step
                step = np.repeat(np.tile(np.arange(len(counts), dtype=np.int16), len(lanes)), counts.T.ravel())
                found = found[np.argsort(step, kind="stable")]
            samples = np.full((len(counts), size), -1, np.int64)
            real = np.arange(size) < counts.sum(axis=1)[:, None]
            samples[real] = found
            yield Step(samples, real.astype(np.float32))

    def _lane(self, lane: int, epoch: int) -> _Lane:
        first, stop = int(self._edges[lane]), int(self._edges[lane + 1])
        return _Lane(first, stop, self.mixed // self.lanes, (self.seed, epoch, lane) if self.shuffle else None)


class _Lane:
    """The order of a lane's samples in one epoch; held are only those that are mixed with each other now."""

    def __init__(self, first: int, stop: int, span: int, key: tuple[int, int, int] | None) -> None:
        self.key, self.size = key, max(1, span if key is None else span // BLOCKS)
        begins = np.arange(first, stop, self.size, dtype=np.int64)
        if key is not None:
            begins = _generator(*key).permutation(begins)
        self.stop, self.begins = stop, begins
        lengths = np.minimum(begins + self.size, stop) - begins
        many = max(1, span // self.size)
        self.parts = [slice(at, at + many) for at in range(0, len(begins), many)]
        self.edges = [0, *np.cumsum([int(lengths[part].sum()) for part in self.parts]).tolist()]
        self.now, self.order = -1, np.zeros(0, np.int64)

    def take(self, low: int, high: int) -> Ints:
        """The samples that come at places [low, high)."""
        found = []
        while low < high:
            part = bisect_right(self.edges, low) - 1
            if part != self.now:
                self.now, self.order = part, self._mixed(part)
            begin, until = self.edges[part], min(high, self.edges[part + 1])
            found.append(self.order[low - begin : until - begin])
            low = until
        return found[0] if len(found) == 1 else np.concatenate([*found, np.zeros(0, np.int64)])

    def _mixed(self, part: int) -> Ints:
        begins = self.begins[self.parts[part]]
        order = (begins[:, None] + np.arange(self.size)).ravel()
        ends = np.repeat(np.minimum(begins + self.size, self.stop), self.size)
        order = order[order < ends]
        return order if self.key is None else _generator(*self.key, part).permutation(order)


def _spread(count: int) -> Ints:
    """A permutation of 0 … count - 1 whose neighbours are far apart."""
    return np.argsort(np.argsort(np.arange(count) * 0.6180339887498949 % 1, kind="stable"), kind="stable")


def _generator(seed: int, *numbers: Any) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed % 2**64, spawn_key=numbers)))
