"""What one Spark task does: read its slice with the hand-off, predict, write Parquet. No row passes the JVM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from nightmill.handoff import Batches, Index, Pinned, Plan, Samples
from nightmill.models.bundle import Bundle
from nightmill.score.writer import Facts, Part, Writer

if TYPE_CHECKING:
    from pyspark import TaskContext

BATCH = 4096
MODELS = 4
"""Models that a Python worker keeps."""


@dataclass(frozen=True)
class Assignment:
    """What all slices of one scoring have in common; sent to the workers once."""

    gold: Pinned
    index: Index
    model: dict[str, bytes]
    """The bundle's files."""
    table_uri: str
    day: date
    facts: Facts
    digest: str
    """Of the model's files."""
    codes: NDArray[np.int64]
    """The model's codes of the index' entities."""


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


def score_slices(assignment: Assignment, slices: Iterable[tuple[int, Samples]]) -> Iterator[Part]:
    """All slices of one Spark partition."""
    from pyspark import TaskContext

    place = Place.of_task(TaskContext.get())
    for number, samples in slices:
        yield score_slice(assignment, number, samples, place)


def score_slice(assignment: Assignment, number: int, samples: Samples, place: Place = Place()) -> Part:
    """Predicts one slice and writes it; the file is not part of the table until the driver commits it."""
    device = place.use()
    bundle = _loaded(assignment, device)
    shape, index = bundle.shape, assignment.index
    plan = Plan(samples, min(BATCH, max(samples.count, 1)), seed=0, shuffle=False)
    batches = Batches(
        assignment.gold,
        index,
        plan,
        features=shape.features,
        target=None,
        device=device,
        threads=place.cores,
    )
    ahead = np.arange(1, shape.steps + 1) if shape.horizon else np.zeros(1, np.int64)
    uri, day, facts = assignment.table_uri, assignment.day, assignment.facts
    with Writer(uri, day, number, facts, index.entities, ahead, index.every_us) as writer:
        for batch in batches.epoch(0):
            value, lo, hi = bundle.predict(batch, assignment.codes)
            real = int((batch.weight > 0).sum())  # padding stands at the end
            entity, ts = batch.entity.cpu().numpy(), batch.ts.cpu().numpy()
            writer.add(entity[:real], ts[:real], value[:real], lo[:real], hi[:real])
    return writer.part()


def _loaded(assignment: Assignment, device: torch.device) -> Bundle:
    """The model, loaded once per Python worker."""
    key = assignment.digest, str(device)
    if key not in _MODELS:
        while len(_MODELS) >= MODELS:
            del _MODELS[next(iter(_MODELS))]
        _MODELS[key] = Bundle.from_files(assignment.model, assignment.facts.target).to(device)
    return _MODELS[key]


_MODELS: dict[tuple[str, str], Bundle] = {}
"""Those of this process, by digest and device."""
