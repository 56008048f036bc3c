"""Batches of tensors: windows as strided views over a rank's matrix, gathered into reused buffers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index
from nightmill.handoff.layout import lay_out
from nightmill.handoff.matrix import Floats, read_matrix
from nightmill.handoff.plan import Plan, Step
from nightmill.handoff.prefetch import prefetched


class Batch(NamedTuple):
    """One rank's samples of one step; `b` is the same in all steps."""

    x: Tensor
    """float32 [b, lookback, feature], NaN where a value is missing, 0 in padding samples."""
    y: Tensor
    """float32 [b, max(horizon, 1)], NaN where the target is unknown."""
    entity: Tensor
    """int64 [b], position in the index' entities."""
    ts: Tensor
    """int64 [b], time of the origin, µs UTC."""
    age: Tensor
    """int64 [b], rows of the run up to and including the origin."""
    weight: Tensor
    """float32 [b], 1 for a sample and 0 for padding, which stands at the end."""


class Batches:
    """A rank's share of a plan, in memory as one row-major matrix; reads it once, serves any number of epochs.

    Raises DataRefused for missing or corrupt files and columns, and for infinite values.
    """

    def __init__(
        self,
        gold: Pinned,
        index: Index,
        plan: Plan,
        rank: int = 0,
        *,
        features: Sequence[str],
        target: str | None = "target",
        device: torch.device | str = "cpu",
        prefetch: int = 2,
    ) -> None:
        if prefetch < 1 or not 0 <= rank < plan.world:
            raise ValueError(f"prefetch must be at least 1 and rank below {plan.world}, not {prefetch}, {rank}")
        window = plan.samples.window
        self.plan, self.rank, self.prefetch, self.device = plan, rank, prefetch, torch.device(device)
        self.steps, self.size = plan.steps, plan.size_of(rank)
        self._window, self._width = window, len(features)
        self._layout = lay_out(index, plan, rank, window.horizon if target is not None else 0)
        matrix = read_matrix(gold, index, self._layout, features, target)
        self.rows_read, self.rows_kept = matrix.rows_read, self._layout.kept
        self._ahead = max(window.horizon, 1)
        # rows follow one another, so a window is one stretch of lookback * features floats
        self._windows = _sliding(matrix.features, window.lookback)
        self._targets = None if matrix.target is None else _sliding(matrix.target[:, None], self._ahead)
        self._spare: list[list[_Slot]] = []

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `start_step` on, prepared ahead by one thread, which ends with the iterator.

        Buffers are reused: a batch on the CPU is valid until `prefetch` further batches have been taken, or the next
        epoch begins.
        """
        slots = self._spare.pop() if self._spare else [self._new_slot() for _ in range(2 * self.prefetch)]
        threads = torch.get_num_threads()
        try:
            with closing(prefetched(self._steps(epoch, start_step), slots, self._fill, self.prefetch)) as filled:
                try:
                    slot = next(filled, None)
                finally:
                    torch.set_num_threads(threads)
                while slot is not None:
                    yield slot.batch()
                    slot = next(filled, None)
        finally:
            self._spare.append(slots)

    def _steps(self, epoch: int, start_step: int) -> Iterator[Step]:
        """The rank's steps; begins in the prefetch thread, and keeps that thread to one core.

        A team of OpenMP threads beside the model's own made it ten times slower on two busy cores. The number
        holds for the calling thread and for threads that begin later, so `epoch` sets the latter back.
        """
        torch.get_num_threads()  # a thread takes over the common number once, at its first use of it
        torch.set_num_threads(1)
        yield from self.plan.rank(self.rank, epoch, start_step)

    def _new_slot(self) -> _Slot:
        shape = self.size, self._window.lookback, self._width
        return _Slot(shape, self._ahead, self.device)

    def _fill(self, step: Step, slot: _Slot) -> None:
        slot.wait()
        layout, buffers = self._layout, slot.numpy
        count = int(np.count_nonzero(step.weight))
        samples = step.samples[:count]
        piece = np.searchsorted(layout.sample, samples, "right") - 1
        places = layout.at_zero.take(piece, axis=0)
        for number, name in enumerate(("row", "entity", "ts", "age")):
            np.add(places[:, number], samples * layout.per_sample[number], out=buffers[name][:count])
            buffers[name][count:] = self._window.lookback - 1 if name == "row" else 0  # the blank rows
        buffers["weight"][:] = step.weight
        torch.index_select(self._windows, 0, slot.row.sub_(self._window.lookback - 1), out=slot.flat)
        if self._targets is not None:
            first_ahead = self._window.lookback - (0 if self._window.horizon else 1)
            torch.index_select(self._targets, 0, slot.row.add_(first_ahead), out=slot.host.y)
        slot.send()


def _sliding(rows: Floats, length: int) -> Tensor:
    """Each stretch of `length` rows as one row of a view [rows - length + 1, length * columns]."""
    count, columns = rows.shape
    return torch.from_numpy(rows).as_strided((count - length + 1, length * columns), (columns, 1))


class _Slot:
    """Reused buffers of one batch, pinned and copied on a stream of their own where the device is a GPU."""

    def __init__(self, shape: tuple[int, int, int], ahead: int, device: torch.device) -> None:
        self.device, self.cuda, size = device, device.type == "cuda", shape[0]
        pin: dict[str, Any] = {"pin_memory": self.cuda}
        self.flat = torch.empty((size, shape[1] * shape[2]), **pin)
        y = torch.full((size, ahead), float("nan"), **pin)
        entity, ts, age = (torch.zeros(size, dtype=torch.int64, **pin) for _ in range(3))
        self.host = Batch(self.flat.view(shape), y, entity, ts, age, torch.zeros(size, **pin))
        self.row = torch.zeros(size, dtype=torch.int64)
        names = ("entity", "ts", "age", "weight")
        self.numpy = {name: getattr(self.host, name).numpy() for name in names} | {"row": self.row.numpy()}
        self._sent: Batch | None = None
        if self.cuda:
            self._stream, self._event = torch.cuda.Stream(device), torch.cuda.Event()

    def wait(self) -> None:
        """Until the buffers are no longer being copied."""
        if self.cuda:
            self._event.synchronize()

    def send(self) -> None:
        """Starts the copy to the device."""
        if self.cuda:
            with torch.cuda.stream(self._stream):
                self._sent = Batch._make(item.to(self.device, non_blocking=True) for item in self.host)
                self._event.record(self._stream)

    def batch(self) -> Batch:
        """The batch on its device, in order with what the caller's stream does next."""
        if self._sent is None:
            return self.host
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(self._event)
        for item in self._sent:
            item.record_stream(stream)
        sent, self._sent = self._sent, None
        return sent
