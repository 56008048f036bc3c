"""From a gold table to tensors, for training and for scoring: pin, index, samples, plan, batches.

    gold = pin(uri)                                      # which files, once and for all
    index = build_index(gold, every)                     # where each entity's rows lie
    parts = split_samples(index, window, split, seed)    # which windows train, validate and test
    plan = Plan(parts.train, batch, seed, world)         # which sample comes when, on which rank
    for batch in Batches(gold, index, plan, rank, features=names).epoch(0): ...

Without windows and in the order of the files: `row_batches(gold, names, batch)`; the rows that windows see, each once:
`window_rows(gold, index, samples, names)`; windows of a single row: `origin_rows(gold, index, samples, names, batch)`.

Knows neither Spark nor Ray; torch is imported with what makes tensors alone, so that planning stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nightmill.handoff.cache import Cache
from nightmill.handoff.gold import Pinned, PinnedFile, pin
from nightmill.handoff.index import Index, Runs, Segments, build_index
from nightmill.handoff.plan import Plan, Step
from nightmill.handoff.samples import Samples, Window, select_samples
from nightmill.handoff.split import Parts, split_samples

if TYPE_CHECKING:
    from nightmill.handoff.batches import Batch, Batches
    from nightmill.handoff.seen import origin_rows, window_rows
    from nightmill.handoff.side import Side
    from nightmill.handoff.stream import column_batches, row_batches

_LAZY = {
    "Batch": "batches",
    "Batches": "batches",
    "Side": "side",
    "column_batches": "stream",
    "origin_rows": "seen",
    "row_batches": "stream",
    "window_rows": "seen",
}

__all__ = [
    "Batch",
    "Batches",
    "Cache",
    "Index",
    "Parts",
    "Pinned",
    "PinnedFile",
    "Plan",
    "Runs",
    "Samples",
    "Segments",
    "Side",
    "Step",
    "Window",
    "build_index",
    "column_batches",
    "origin_rows",
    "pin",
    "row_batches",
    "select_samples",
    "split_samples",
    "window_rows",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"nightmill.handoff.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
