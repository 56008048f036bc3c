"""From a gold table to tensors, for training and for scoring: pin, index, samples, plan, batches.

    gold = pin(uri)                                      # which files, once and for all
    index = build_index(gold, every)                     # where each entity's rows lie
    parts = split_samples(index, window, split, seed)    # which windows train, validate and test
    plan = Plan(parts.train, batch, seed, world)         # which sample comes when, on which rank
    for batch in Batches(gold, index, plan, rank, features=names).epoch(0): ...

Knows neither Spark nor Ray; torch is imported with `Batches` alone, so that planning stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightmill.handoff.gold import Pinned, PinnedFile, pin
from nightmill.handoff.index import Index, Runs, Segments, build_index
from nightmill.handoff.plan import Plan, Step
from nightmill.handoff.samples import Samples, Window, select_samples
from nightmill.handoff.split import Parts, split_samples

if TYPE_CHECKING:
    from nightmill.handoff.batches import Batch, Batches

__all__ = [
    "Batch",
    "Batches",
    "Index",
    "Parts",
    "Pinned",
    "PinnedFile",
    "Plan",
    "Runs",
    "Samples",
    "Segments",
    "Step",
    "Window",
    "build_index",
    "pin",
    "select_samples",
    "split_samples",
]


def __getattr__(name: str) -> Any:
    if name in ("Batch", "Batches"):
        from nightmill.handoff import batches

        return getattr(batches, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
