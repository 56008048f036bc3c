"""Which sample comes when, on which rank: a pure function of samples, batch, seed, epoch and world size.

    blocks      [ 7 ][ 2 ][ 9 ][ 0 ] …        stretches of the logical order, permuted once by the seed
    lanes       |  0  |  1  |  2  | …         that order cut into 64 lanes; each epoch permutes inside each lane
    batch s     a slice of every lane         64 lanes, always: so the batch is the same for any world size
    rank r      lanes r, r + world, …         so a rank reads about its share of the rows, the same in every epoch

Lane l holds floor((N + l) / 64) samples and has given floor((s B + l) / 64) of them before step s. By Hermite's
identity, sum over l of floor((m + l) / 64) = m, every batch holds exactly B samples and the last one the rest.
(Elastic determinism after MosaicML Streaming, with lanes in place of its canonical nodes.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightmill.errors import ConfigError
from nightmill.handoff.index import Ints
from nightmill.handoff.samples import Samples

BLOCKS_PER_LANE = 4


class Step(NamedTuple):
    """What one rank does in one step; all its steps have the same size."""

    samples: Ints
    """Sample numbers [b]; -1 where the batch is padded, always at its end."""
    weight: NDArray[np.float32]
    """1 for a sample, 0 for padding [b]."""


class Plan:
    """The order of samples over steps and ranks; every sample exactly once per epoch, equal steps on all ranks.

    `batch` samples per step over all ranks. With shuffle=False samples come in logical order, each of `world`
    ranks reading one stretch of them: for evaluation and scoring. Raises ConfigError for a world larger than the lanes.
    """

    def __init__(
        self, samples: Samples, batch: int, seed: int, world: int = 1, lanes: int = 64, shuffle: bool = True
    ) -> None:
        if batch < 1 or world < 1:
            raise ValueError(f"batch and world must be at least 1, not {batch}, {world}")
        if shuffle and world > lanes:
            fix = f"train with at most {lanes} workers"
            raise ConfigError(f"{world} workers are more than the {lanes} lanes of the plan", where="workers", fix=fix)
        self.samples, self.batch, self.seed, self.world, self.shuffle = samples, batch, seed, world, shuffle
        self.lanes = lanes if shuffle else world
        self.count = samples.count
        self.steps = -(-self.count // batch)
        self._blocks = self._permuted_blocks()
        self._lane_edges = np.concatenate([[0], np.cumsum((self.count + np.arange(self.lanes)) // self.lanes)])

    @property
    def hash(self) -> str:
        """Equal for plans that give the same batches, whatever the world size (with shuffle)."""
        samples = self.samples
        digest = hashlib.sha256()
        for array in (samples.run, samples.first, samples.last, samples.seen_from, samples.seen_to):
            digest.update(np.ascontiguousarray(array, "<i8").tobytes())
        window = samples.window
        parts = [window.lookback, window.horizon, window.pad, self.batch, self.seed, self.lanes, len(self._blocks)]
        digest.update(json.dumps([*parts, self.shuffle]).encode())
        return digest.hexdigest()[:16]

    def lanes_of(self, rank: int) -> range:
        """Numbers of the rank's lanes."""
        return range(rank, self.lanes, self.world)

    def size_of(self, rank: int) -> int:
        """Samples and padding of the rank in every step."""
        lanes = np.array(self.lanes_of(rank))
        period = np.arange(min(self.steps, self.lanes // gcd(self.batch, self.lanes)) + 1)[:, None]
        given = (period * self.batch + lanes) // self.lanes
        return int(np.diff(given, axis=0).sum(axis=1).max(initial=0))

    def stretches_of(self, rank: int) -> Ints:
        """The rank's samples as [first, stop) sample numbers [n, 2], ascending, in every epoch the same."""
        parts = [self._lane_stretches(lane) for lane in self.lanes_of(rank)]
        every = np.concatenate([*parts, np.zeros((0, 2), np.int64)])
        every = every[np.argsort(every[:, 0], kind="stable")]
        begin = np.ones(len(every), bool)
        begin[1:] = every[1:, 0] != every[:-1, 1]
        return np.stack([every[begin, 0], every[np.append(begin[1:], True)[: len(every)], 1]], axis=1)

    def rank(self, rank: int, epoch: int, start_step: int = 0) -> Iterator[Step]:
        """The rank's steps of an epoch, from `start_step` on."""
        lanes = self.lanes_of(rank)
        orders = [self._lane_order(lane, epoch) for lane in lanes]
        lengths, numbers, size = np.array([len(order) for order in orders]), np.array(lanes), self.size_of(rank)
        for step in range(start_step, self.steps):
            low = np.minimum((step * self.batch + numbers) // self.lanes, lengths)
            high = np.minimum(((step + 1) * self.batch + numbers) // self.lanes, lengths)
            samples, weight = np.full(size, -1, np.int64), np.zeros(size, np.float32)
            found = np.concatenate([order[a:b] for order, a, b in zip(orders, low, high, strict=True)])
            samples[: len(found)], weight[: len(found)] = found, 1
            yield Step(samples, weight)

    def _permuted_blocks(self) -> Ints:
        """[first, stop) sample numbers of the blocks in the order in which lanes are cut from them."""
        if not self.shuffle:
            return np.array([[0, self.count]], np.int64)
        size = max(1, min(self.samples.group_rows, -(-self.count // (self.lanes * BLOCKS_PER_LANE))))
        first = np.arange(0, self.count, size, dtype=np.int64)
        blocks = np.stack([first, np.minimum(first + size, self.count)], axis=1)
        return blocks[_generator(self.seed, "blocks").permutation(len(blocks))]

    def _lane_stretches(self, lane: int) -> Ints:
        """The parts of blocks that the lane holds, as [first, stop) [n, 2]."""
        low, high = self._lane_edges[lane], self._lane_edges[lane + 1]
        length = self._blocks[:, 1] - self._blocks[:, 0]
        stop = np.cumsum(length)
        start = stop - length
        touched = slice(int(np.searchsorted(stop, low, "right")), int(np.searchsorted(start, high, "left")))
        shift = self._blocks[touched, 0] - start[touched]
        ends = [np.maximum(start[touched], low) + shift, np.minimum(stop[touched], high) + shift]
        return np.stack(ends, axis=1)

    def _lane_order(self, lane: int, epoch: int) -> NDArray[Any]:
        small = np.int32 if self.count < 2**31 else np.int64
        held = [np.arange(a, b, dtype=small) for a, b in self._lane_stretches(lane)]
        order = np.concatenate([*held, np.zeros(0, small)])
        return _generator(self.seed, "epoch", epoch, lane).permutation(order) if self.shuffle else order


def _generator(seed: int, what: str, *numbers: int) -> np.random.Generator:
    spawn_key = (int(what == "epoch"), *numbers)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed % 2**64, spawn_key=spawn_key)))
