"""Batches of tensors: windows as strided views over a rank's rows, gathered into reused buffers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nightmill.errors import ConfigError, DataRefused
from nightmill.handoff.cache import Cache
from nightmill.handoff.columns import categories, numbers
from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index, Ints
from nightmill.handoff.layout import Layout, lay_out
from nightmill.handoff.matrix import READERS
from nightmill.handoff.plan import Plan
from nightmill.handoff.prefetch import prefetched
from nightmill.handoff.rows import Rows, array_fields, hold, row_bytes, seen_field, sliding
from nightmill.handoff.side import Side, SideRows

_STARTING = threading.Lock()
WEIGHED = 2**18
"""Weights that are looked at together."""
FILLERS = 2
"""Threads that gather batches: one alone is slower than memory is, and than a GPU may be."""
AT_ONCE = 4 * 2**20
"""Bytes of small batches that are gathered at once: each hand-over between threads costs a step some 50 µs."""


class Batch(NamedTuple):
    """One rank's samples of one step; `b` is the same in all steps."""

    x: Tensor
    """float32 [b, lookback, feature], NaN where a value is missing, 0 in padding samples; or uint8 [b, lookback, byte]
    where the only feature is a column of arrays."""
    y: Tensor
    """float32 [b, max(horizon, 1)], NaN where the target is unknown."""
    entity: Tensor
    """int64 [b], position in the index' entities."""
    ts: Tensor
    """int64 [b], even time of the origin, µs; see `nightmill.clock.Clock`."""
    age: Tensor
    """int64 [b], rows of the run up to and including the origin."""
    weight: Tensor
    """float32 [b], the sample's weight, and 0 for padding, which stands at the end."""
    codes: Tensor
    """int32 [b, category] of the origin, 0 for an unknown one."""
    more: dict[str, Tensor]
    """By name: an array column's values at the origin [b, size], a side input's window [b, rows, column]."""

    @property
    def known(self) -> Tensor:
        """bool [b, lookback, feature]: whether a value is there."""
        return ~torch.isnan(self.x)

    def map(self, change: Any) -> Batch:
        """The batch with each tensor changed."""
        more = {name: change(item) for name, item in self.more.items()}
        return Batch._make([*(change(item) for item in self[:-1]), more])


class Batches:
    """A rank's share of a plan as row-major rows; reads it once, serves any number of epochs.

    `features` are columns of numbers, or a single one of arrays. Beside them and `target` a sample may carry a `weight`
    (a column, not negative), `codes` of categories (column -> vocabulary), `arrays` (columns of images or waveforms),
    and windows of other inputs (`sides`). Rows beyond `memory` bytes are served from the `cache`.

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
        weight: str | None = None,
        codes: Mapping[str, Sequence[str]] | None = None,
        arrays: Sequence[str] = (),
        sides: Mapping[str, Side] | None = None,
        device: torch.device | str = "cpu",
        prefetch: int = 2,
        threads: int | None = None,
        memory: int | None = None,
        cache: Cache | None = None,
    ) -> None:
        if not 0 <= rank < plan.world:
            raise ValueError(f"rank must be from 0 to {plan.world - 1}, not {rank}")
        if prefetch < 1 or isinstance(features, str) or not features or (memory is not None and memory < 0):
            raise ValueError("features are a list of names; prefetch is at least 1, memory at least 0")
        if doubled := {*arrays} & {*(sides or {})}:
            what = f"'{min(doubled)}' is an array and a side input"
            raise ConfigError(what, where="arrays and sides of the batches", fix="name the side input otherwise")
        window = plan.samples.window
        self.plan, self.rank, self.prefetch, self.device = plan, rank, prefetch, torch.device(device)
        self.steps, self.size = plan.steps, plan.size_of(rank)
        seen = seen_field(gold, features)
        self._window, self._width, self._categories = window, seen.width, len(codes or {})
        held = plan.range_of(rank)
        self._layout = lay_out(index, plan.samples, held, window.horizon if target is not None else 0)
        fields = [seen]
        fields += [numbers("y", [target], blank=float("nan"))] if target is not None else []
        fields += [numbers("weight", [weight])] if weight is not None else []
        fields += [categories("codes", codes)] if codes else []
        self._arrays = array_fields(gold, arrays)
        fields += self._arrays
        self._sides = {name: SideRows(side, index, plan.samples, held) for name, side in (sides or {}).items()}
        sizes = [self._layout.rows * row_bytes(fields), *(side.bytes for side in self._sides.values())]
        share, *shares = _shared(memory, sizes)
        self._rows = hold(gold, index, self._layout, fields, share, cache, min(threads or READERS, READERS))
        self._fillers = min(threads or FILLERS, FILLERS)
        for side, part in zip(self._sides.values(), shares, strict=True):
            side.hold(part, cache)
        self.rows_read, self.rows_kept = self._rows.rows_read, self._layout.kept
        if weight is not None:
            _refuse_weights(self._rows, weight, index, self._layout, held)
        self._ahead = max(window.horizon, 1)
        # rows follow one another, so a window is one stretch of lookback * features floats
        lengths = {"x": window.lookback, "y": self._ahead}
        self._windows = {name: sliding(rows, lengths.get(name, 1)) for name, rows in self._rows.arrays.items()}
        windows = [self._ahead, *(s.rows * s.width for s in self._sides.values())]
        sample = window.lookback * seen.row_bytes + 4 * sum(windows)
        sample += sum(field.width * self._windows[field.name].element_size() for field in self._arrays)
        self._group = max(1, min(self.steps, AT_ONCE // max(sample * self.size, 1)))
        self._spare: list[list[_Slot]] = []
        self._table = hashlib.sha256(gold.to_json().encode()).hexdigest()[:16]
        self._place = _Place(0, 0)

    def state_dict(self) -> dict[str, Any]:
        """Where the iterator that began last stands: plan and table, its epoch, and how many steps of it were taken."""
        return {"plan": self.plan.hash, "table": self._table, **vars(self._place)}

    def resume(self, state: Mapping[str, Any]) -> Iterator[Batch]:
        """The batches that were left of a `state_dict`'s epoch, on as many ranks as there are now.

        Raises ConfigError where the state is one of another plan or table, or none at all.
        """
        known = {"plan": self.plan.hash, "table": self._table}
        if not isinstance(state, Mapping) or not {*known, "epoch", "step"} <= state.keys():
            raise ConfigError("this is no state of batches", where="state_dict", fix="pass what state_dict() returned")
        for name, mine in known.items():
            if state[name] != mine:
                fix = "begin the epoch anew, or take the same table version, window, batch and seed"
                fix += "" if self.plan.shuffle else ", and without shuffle as many ranks"
                raise ConfigError(f"the state belongs to another {name} of samples", where="state_dict", fix=fix)
        if not 0 <= int(state["step"]) <= self.steps:
            what = f"the state is at step {state['step']}, and an epoch has {self.steps}"
            raise ConfigError(what, where="state_dict", fix="pass what state_dict() returned")
        return self.epoch(int(state["epoch"]), int(state["step"]))

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `start_step` on, prepared ahead by threads that end with the iterator.

        Buffers are reused: a batch on the CPU is valid until `prefetch` further batches have been taken, or the next
        epoch begins.
        """
        if not 0 <= start_step <= self.steps:
            raise ValueError(f"the epoch has {self.steps} steps; it cannot begin at step {start_step}")
        self._place = place = _Place(epoch, start_step)
        return self._taken(place, self._steps(epoch, start_step))

    def _taken(self, place: _Place, steps: Iterator[_Places]) -> Iterator[Batch]:
        slots = self._spare.pop() if self._spare else [self._new_slot() for _ in range(2 * self.prefetch)]
        try:
            with closing(self._filled(steps, slots)) as filled:
                for slot in filled:
                    for batch in slot.batches():
                        place.step += 1
                        yield batch
        finally:
            self._spare.append(slots)

    def _filled(self, steps: Iterator[_Places], slots: list[_Slot]) -> Generator[_Slot]:
        if self.steps <= self._group:  # nothing to work ahead of, and threads take milliseconds to begin
            for places in steps:
                self._fill(places, slots[0])
                yield slots[0]
            return
        ahead = prefetched(steps, slots, self._fill, self.prefetch, threads=self._fillers, begin=_to_one_core)
        with closing(ahead) as filled:
            with _STARTING:  # the number of threads is the process' own
                threads = torch.get_num_threads()
                try:
                    slot = next(filled, None)
                finally:
                    torch.set_num_threads(threads)
            while slot is not None:
                yield slot
                slot = next(filled, None)

    def _steps(self, epoch: int, start_step: int) -> Iterator[_Places]:
        """The rank's steps, some at a time, worked out in the threads that fill them."""
        layout, lookback = self._layout, self._window.lookback
        for steps in self.plan.chunks(self.rank, epoch, start_step):
            padding = steps.samples < 0
            row, entity, ts, age = layout.places(steps.samples)
            row[padding] = lookback - 1  # the blank rows
            for array in (entity, ts, age):
                array[padding] = 0
            ahead = row + bool(self._window.horizon)
            both = row, row - (lookback - 1), ahead, entity, ts, age, steps.weight
            for begin in range(0, len(row), self._group):
                yield _Places._make(array[begin : begin + self._group] for array in both)

    def _new_slot(self) -> _Slot:
        more = {field.columns[0]: (field.width, self._windows[field.name].dtype) for field in self._arrays}
        shape = self.size, self._window.lookback, self._width
        sides = {name: (side.rows, side.width) for name, side in self._sides.items()}
        kind = self._windows["x"].dtype
        return _Slot(self._group, shape, kind, self._ahead, self._categories, more, sides, self.device)

    def _fill(self, places: _Places, slot: _Slot) -> None:
        slot.wait()
        steps, windows = len(places.row), self._windows
        host, flat = slot.filled(steps)
        for name in ("entity", "ts", "age", "weight"):
            slot.numpy[name][:steps] = getattr(places, name)
        origin = torch.from_numpy(places.row.reshape(-1))
        if "weight" in windows:
            torch.index_select(windows["weight"], 0, origin, out=host.weight.view(-1, 1))
        if self._categories:
            torch.index_select(windows["codes"], 0, origin, out=host.codes)
        for field in self._arrays:
            torch.index_select(windows[field.name], 0, origin, out=host.more[field.columns[0]])
        for name, side in self._sides.items():
            real = np.count_nonzero(places.weight, axis=1).tolist()
            for step, into in enumerate(host.more[name].split(self.size)):
                side.gather(places.entity[step], places.ts[step], real[step], into)
        torch.index_select(windows["x"], 0, torch.from_numpy(places.first.reshape(-1)), out=flat)
        if "y" in windows:
            torch.index_select(windows["y"], 0, torch.from_numpy(places.ahead.reshape(-1)), out=host.y)
        self._rows.used()
        slot.send()


@dataclass
class _Place:
    """Where an iterator stands."""

    epoch: int
    step: int
    """Steps that were taken."""


class _Places(NamedTuple):
    """Where the samples of some steps lie, and what is known of them without reading; [step, b] each."""

    row: Ints
    """Matrix row of the origin."""
    first: Ints
    """Matrix row of the window's first one."""
    ahead: Ints
    """Matrix row of the first target."""
    entity: Ints
    ts: Ints
    age: Ints
    weight: NDArray[np.float32]
    """1, and 0 for padding."""


def _to_one_core() -> None:
    """Keeps the calling thread to one core.

    A team of OpenMP threads beside the model's own made a thread ten times slower on two busy cores. The number holds
    for the calling thread and for threads that begin later, so `epoch` sets the latter back.
    """
    torch.get_num_threads()  # a thread takes over the common number once, at its first use of it
    torch.set_num_threads(1)


def _shared(memory: int | None, sizes: Sequence[int]) -> list[int | None]:
    """What each of several holdings gets of a budget: nothing is bounded where all fit, else each to its size."""
    whole = sum(sizes)
    return [None if memory is None or whole <= memory else memory * size // whole for size in sizes]


def _refuse_weights(rows: Rows, column: str, index: Index, layout: Layout, held: tuple[int, int]) -> None:
    """Of the samples' origins; what other rows hold weighs nothing."""
    weights, found = rows.arrays["weight"][:, 0], [np.empty(0, np.int64)]
    for begin in range(*held, WEIGHED):
        origin = layout.places(np.arange(begin, min(begin + WEIGHED, held[1])))[0]
        found.append(origin[~(weights[origin] >= 0)])  # NaN is not at least 0
    if len(bad := np.concatenate(found)):
        what = f"{len(bad)} weights in column '{column}' are negative or missing"
        what += f", as of entity '{layout.entity(index, int(bad[0]))}'"
        raise DataRefused(what, where=index.source, fix="a weight says how much a sample counts: 0 or more")


class _Slot:
    """Reused buffers of some batches, pinned and copied on a stream of their own where the device is a GPU."""

    def __init__(
        self,
        steps: int,
        shape: tuple[int, int, int],
        kind: torch.dtype,
        ahead: int,
        categories: int,
        arrays: Mapping[str, tuple[int, torch.dtype]],
        sides: Mapping[str, tuple[int, int]],
        device: torch.device,
    ) -> None:
        self.device, self.cuda, self.size = device, device.type == "cuda", shape[0]
        size = steps * self.size
        pin: dict[str, Any] = {"pin_memory": self.cuda}
        self.flat = torch.empty((size, shape[1] * shape[2]), dtype=kind, **pin)
        y = torch.full((size, ahead), float("nan"), **pin)
        entity, ts, age = (torch.zeros(size, dtype=torch.int64, **pin) for _ in range(3))
        codes = torch.zeros((size, categories), dtype=torch.int32, **pin)
        more = {name: torch.zeros((size, width), dtype=kind, **pin) for name, (width, kind) in arrays.items()}
        more |= {name: torch.zeros((size, rows, width), **pin) for name, (rows, width) in sides.items()}
        x = self.flat.view(size, *shape[1:])
        self.host = Batch(x, y, entity, ts, age, torch.zeros(size, **pin), codes, more)
        names = ("entity", "ts", "age", "weight")
        self.numpy = {name: getattr(self.host, name).numpy().reshape(steps, self.size) for name in names}
        self._each = [self._part(self.host, step) for step in range(steps)]
        self._steps = 0
        self._sent: Batch | None = None
        if self.cuda:
            self._stream, self._event = torch.cuda.Stream(device), torch.cuda.Event()

    def wait(self) -> None:
        """Until the buffers are no longer being copied."""
        if self.cuda:
            self._event.synchronize()

    def filled(self, steps: int) -> tuple[Batch, Tensor]:
        """The buffers of the first `steps` batches, which are to be filled, and x of them as rows of whole windows."""
        self._steps, many = steps, steps * self.size
        return self.host.map(lambda item: item[:many]), self.flat[:many]

    def send(self) -> None:
        """Starts the copy to the device."""
        if self.cuda:
            many = self._steps * self.size
            with torch.cuda.stream(self._stream):
                self._sent = self.host.map(lambda item: item[:many].to(self.device, non_blocking=True))
                self._event.record(self._stream)

    def _part(self, batch: Batch, step: int) -> Batch:
        return batch.map(lambda item: item[step * self.size : (step + 1) * self.size])

    def batches(self) -> list[Batch]:
        """The batches on their device, in order with what the caller's stream does next."""
        if self._sent is None:
            return self._each[: self._steps]
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(self._event)
        sent, self._sent = self._sent, None
        for item in (*sent[:-1], *sent.more.values()):
            item.record_stream(stream)
        return [self._part(sent, step) for step in range(self._steps)]
