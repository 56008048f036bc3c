"""Predictions beyond what is allowed: each entity is an alarm of its own, so that a new one is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np

from nightmill.config import UseCase
from nightmill.config.monitor import Monitor
from nightmill.lake.live import Codes, day_batches
from nightmill.lake.tables import Table
from nightmill.metrics import beyond
from nightmill.monitor.alarms import Figure

NAMED = 20
"""Entities that get an alarm of their own, those furthest beyond; the others are one together."""


def level_figures(use_case: UseCase, predictions: Table, night: date) -> Iterator[Figure]:
    """How far each entity lies beyond `monitor.below` or `monitor.above`: 1 at the limit, 1.5 half of it beyond.

    An entity that is back within its limits by a fifth of them ends its alarm at once.
    """
    limits, name = use_case.monitor, use_case.target.name
    if limits.below is None and limits.above is None:
        return
    codes, most, worst = Codes(), np.zeros(0), np.zeros(0)
    for batch in day_batches(predictions, night, ["entity", "value"]):
        value = batch["value"].to_numpy(zero_copy_only=False).astype(float)
        code, shares = codes.of(batch["entity"]), beyond(value, limits.below, limits.above)
        new = len(codes.numbers) - len(most)
        most, worst = np.pad(most, (0, new), constant_values=-np.inf), np.pad(worst, (0, new))
        np.maximum.at(most, code, np.where(np.isfinite(shares), shares, -np.inf))
        here = shares == most[code]
        worst[code[here]] = value[here]
    found = zip(codes.numbers, most.tolist(), worst.tolist(), strict=True)
    margin = {entity: (share, value) for entity, share, value in found if share > -np.inf}
    outside = sorted((entity for entity, (share, _) in margin.items() if share > 1), key=lambda e: -margin[e][0])
    rest = set(outside[NAMED:])
    for entity, (share, value) in margin.items():
        if entity not in rest:
            what = f"{name} of {entity} is {value:.3g}{_against(limits, value)}"
            yield Figure(use_case.name, "level", f"entity={entity}", share, 1.0, what, nights=1)
    what = f"{name} of {len(rest):,} more entities is beyond its limits, as of {', '.join(sorted(rest)[:3])}"
    yield Figure(use_case.name, "level", "", len(rest), 0.5, what)


def _against(limits: Monitor, value: float) -> str:
    if limits.below is not None and value < limits.below:
        return f", below {limits.below:g}"
    return f", above {limits.above:g}" if limits.above is not None and value > limits.above else ""
