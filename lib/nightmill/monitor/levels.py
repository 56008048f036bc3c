"""Predictions beyond what is allowed: each entity is an alarm of its own, so that a new one is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
from numpy.typing import NDArray

from nightmill.config import UseCase
from nightmill.config.monitor import Monitor
from nightmill.lake.live import day_batches
from nightmill.lake.tables import Table
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
    margin: dict[str, tuple[float, float]] = {}
    for batch in day_batches(predictions, night, ["entity", "value"]):
        value = batch["value"].to_numpy(zero_copy_only=False).astype(float)
        under, over = (_share(limit, sign, value) for limit, sign in ((limits.below, -1), (limits.above, 1)))
        for entity, beyond, one in zip(batch["entity"].to_pylist(), np.maximum(under, over), value, strict=True):
            if np.isfinite(beyond) and beyond > margin.get(entity, (-np.inf, 0.0))[0]:
                margin[entity] = float(beyond), float(one)
    outside = sorted((entity for entity, (beyond, _) in margin.items() if beyond > 1), key=lambda e: -margin[e][0])
    rest = set(outside[NAMED:])
    for entity, (beyond, value) in margin.items():
        if entity not in rest:
            what = f"{name} of {entity} is {value:.3g}{_against(limits, value)}"
            yield Figure(use_case.name, "level", f"entity={entity}", beyond, 1.0, what, nights=1)
    what = f"{name} of {len(rest):,} more entities is beyond its limits, as of {', '.join(sorted(rest)[:3])}"
    yield Figure(use_case.name, "level", "", len(rest), 0.5, what)


def _share(limit: float | None, sign: int, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n] 1 at the limit, more beyond it, as a share of the limit (of 1 where it is 0)."""
    if limit is None:
        return np.full(len(value), -np.inf)
    return np.asarray(1 + sign * (value - limit) / (abs(limit) or 1.0))


def _against(limits: Monitor, value: float) -> str:
    if limits.below is not None and value < limits.below:
        return f", below {limits.below:g}"
    return f", above {limits.above:g}" if limits.above is not None and value > limits.above else ""
