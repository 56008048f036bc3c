"""What one Spark task does: read its slice with the hand-off, predict, write Parquet. No row passes the JVM."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from nightmill.errors import NightmillError
from nightmill.handoff import Batches, Index, Pinned, Plan, Samples, origin_rows
from nightmill.lake.registry import Stored
from nightmill.models.bundle import Bundle, Predicted
from nightmill.score.marks import Marks
from nightmill.score.origins import REASONS, Rest
from nightmill.score.rest import predict_rest
from nightmill.score.writer import Facts, Part, Writer

if TYPE_CHECKING:
    from pyspark import TaskContext

Ints = NDArray[np.int64]

BATCH = 4096
MODELS = 4
"""Models that a Python worker keeps."""


@dataclass(frozen=True)
class Assignment:
    """What all slices of one scoring have in common; sent to the workers once."""

    gold: Pinned
    index: Index
    names: list[str]
    """Of entities: the index' own, and behind them those of which it has no row."""
    codes: Ints
    """[name] the model's codes."""
    model: Stored
    """The model's files, which each Python worker reads for itself."""
    table_uri: str
    day: date
    facts: Facts
    marks: Marks


@dataclass(frozen=True)
class Place:
    """What a task may use of its machine."""

    cores: int = 1
    device: str = "cpu"

    @classmethod
    def of_task(cls, context: TaskContext | None) -> Place:
        """What Spark granted: spark.task.cpus, and the first GPU of spark.task.resource.gpu where there is one."""
        if context is None:
            return cls()
        gpu = context.resources().get("gpu")
        return cls(context.cpus(), f"cuda:{gpu.addresses[0]}" if gpu and gpu.addresses else "cpu")

    def use(self) -> torch.device:
        """Keeps the libraries' threads to the task's cores, and returns its device."""
        torch.set_num_threads(self.cores)
        pa.set_cpu_count(self.cores)
        return torch.device(self.device)


def score_slices(
    assignment: Assignment, slices: Iterable[tuple[int, Samples | Rest]]
) -> Iterator[Part | NightmillError]:
    """All slices of one Spark partition; what is refused would be refused again, so no attempt is made to repeat it."""
    from pyspark import TaskContext

    place, known = Place.of_task(TaskContext.get()), len(_SEEN)
    for number, todo in slices:
        try:
            yield score_slice(assignment, number, todo, place)
        except NightmillError as error:
            yield error
            return
    if len(_SEEN) > known:  # Spark collects garbage after each task: 0.15 s if it goes through all of torch every time
        gc.collect()
        gc.freeze()


def score_slice(assignment: Assignment, number: int, todo: Samples | Rest, place: Place = Place()) -> Part:
    """Predicts one slice and writes it; the file is not part of the table until the driver commits it."""
    device = place.use()
    bundle = _loaded(assignment, device)
    ahead, clock = bundle.shape.ahead, assignment.index.clock
    uri, day, facts, marks = assignment.table_uri, assignment.day, assignment.facts, assignment.marks
    reasons = REASONS if isinstance(todo, Rest) else ()
    with Writer(uri, day, number, facts, assignment.names, ahead, clock, marks.labels, reasons) as writer:
        for entity, ts, said, reason in _predicted(bundle, assignment, todo, place):
            writer.add(entity, ts, said, marks.put(said), reason)
    return writer.part()


def _predicted(
    bundle: Bundle, assignment: Assignment, todo: Samples | Rest, place: Place
) -> Iterator[tuple[Ints, Ints, Predicted, Ints | None]]:
    """(entity, ts, what is predicted, why it is not by the model), a batch at a time."""
    gold, index, codes = assignment.gold, assignment.index, assignment.codes
    if isinstance(todo, Rest):
        for origins, said in predict_rest(bundle, gold, index, codes, todo, place.cores):
            yield origins.entity, origins.ts, said, origins.reason
        return
    features, device = bundle.shape.features, place.device
    if todo.window.lookback == 1 and not bundle.shape.array:
        for rows in origin_rows(gold, index, todo, features, BATCH, readers=place.cores):
            yield rows.entity.numpy(), rows.ts.numpy(), bundle.predict(rows, codes), None
        return
    plan = Plan(todo, min(BATCH, max(todo.count, 1)), seed=0, shuffle=False)
    batches = Batches(gold, index, plan, features=features, target=None, device=device, threads=place.cores)
    for batch in batches.epoch(0):
        real = int((batch.weight > 0).sum())  # padding stands at the end
        said = bundle.predict(batch, codes).first(real)
        yield batch.entity[:real].cpu().numpy(), batch.ts[:real].cpu().numpy(), said, None


def _loaded(assignment: Assignment, device: torch.device) -> Bundle:
    """The model, loaded once per Python worker."""
    key = assignment.model, str(device)
    if key not in _MODELS:
        while len(_MODELS) >= MODELS:
            del _MODELS[next(iter(_MODELS))]
        _MODELS[key] = Bundle.from_files(assignment.model.load(), assignment.model.of).to(device)
        _SEEN.add(assignment.model)
    return _MODELS[key]


_MODELS: dict[tuple[Stored, str], Bundle] = {}
"""Those of this process, by their files and device."""
_SEEN: set[Stored] = set()
"""Those that this process has ever loaded."""
