"""Prediction intervals by split conformal calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

LEVELS = 10
"""Most levels of a prediction that have offsets of their own."""
LEAST = 50
"""Residuals that a level rests on at least; more where so few cannot tell the ends of a share close to all."""


@dataclass(frozen=True)
class Offsets:
    """What widens (or narrows) the ends that the head expects for one step ahead, by the level of their middle."""

    edges: Array
    """[levels - 1] where a level ends and the next begins, ascending, in the target's unit."""
    low: Array
    """[levels] in the target's unit, never above 0 where the head gives a point."""
    high: Array
    """[levels] in the target's unit, never below 0 where the head gives a point."""
    count: tuple[int, ...]
    """[levels] known validation residuals that each level's offsets rest on; none where there is no interval."""

    def level(self, middle: Array) -> NDArray[np.int8]:
        """[n] the level of each middle of an interval."""
        found = np.zeros(len(middle), np.int8)
        for edge in self.edges:  # they are few: quicker than bisection
            found += middle >= edge
        return found


@dataclass(frozen=True)
class Interval:
    """Offsets that make an interval of what the head expects: lo = its lower end + low, and so hi."""

    share: float
    """Share of truths that should fall inside."""
    steps: tuple[Offsets, ...]
    """One per step ahead."""

    def round(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """(lo, hi) [n, steps] of what the head expects, of a point twice the same array; narrowing never turns the ends
        round."""
        lo, hi = np.empty_like(lower), np.empty_like(upper)
        for step, at in enumerate(self.steps):
            below, above = lower[:, step], upper[:, step]
            level = at.level(below if upper is lower else _middle(below, above))
            np.add(below, at.low[level], out=lo[:, step])
            np.add(above, at.high[level], out=hi[:, step])
        return lo, np.maximum(hi, lo, out=hi)

    def later(self, rows: int) -> Interval:
        """That of predictions from an origin so many rows earlier: of step s + rows, of the last step beyond it."""
        last = len(self.steps) - 1
        return replace(self, steps=tuple(self.steps[min(step + rows, last)] for step in range(last + 1)))

    @classmethod
    def absent(cls, share: float, steps: int) -> Interval:
        """No interval: its ends are NaN. A probability and a class have none."""
        unknown = np.full(1, np.nan, np.float32)
        return cls(share, (Offsets(np.zeros(0, np.float32), unknown, unknown, ()),) * steps)

    def to_json(self) -> dict[str, Any]:
        """Plain values; infinite offsets, which JSON does not have, as null."""
        return {
            "share": self.share,
            "steps": [
                {
                    "edges": at.edges.tolist(),
                    "low": [v if np.isfinite(v) else None for v in at.low.tolist()],
                    "high": [v if np.isfinite(v) else None for v in at.high.tolist()],
                    "count": list(at.count),
                }
                for at in self.steps
            ],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Interval:
        """The inverse of `to_json`. Raises KeyError and TypeError where something is missing."""
        steps = []
        for at in data["steps"]:
            low, high = (-np.inf, np.inf) if at["count"] else (np.nan, np.nan)
            steps.append(
                Offsets(
                    np.array(at["edges"], np.float32),
                    np.array([low if v is None else v for v in at["low"]], np.float32),
                    np.array([high if v is None else v for v in at["high"]], np.float32),
                    tuple(at["count"]),
                )
            )
        return cls(data["share"], tuple(steps))


def calibrate(truth: Array, lower: Array, upper: Array, share: float) -> Interval:
    """The interval per step from validation rows that the weights were not fitted to.

    `truth` and the ends that the head expects, `lower` and `upper`, all [n, steps]; NaN truths are ignored, and of a
    point both ends are the prediction. With n residuals from the ends, sorted, and a = 1 - share, low is the
    floor((n + 1) a / 2)-th from the lower end and high the ceil((n + 1)(1 - a / 2))-th from the upper: Lei et al.
    2018, "Distribution-Free Predictive Inference for Regression", for a point, and Romano, Patterson & Candès 2019,
    "Conformalized Quantile Regression", for quantiles. Where n is too small for that rank, the outermost residual
    stands in and the interval covers less than it should; with no residual at all it is infinite. The interval of a
    point holds the point: where nearly all truths lie on one side of it, it covers more than it should.

    That is done for each of up to LEVELS levels of the prediction apart, as its quantiles part them: Boström &
    Johansson 2020, "Mondrian Conformal Regressors". So an interval is as wide as errors are where the prediction lies,
    and still right where other levels are more frequent than they were in validation.
    """
    points = upper is lower
    return Interval(share, tuple(_offsets(*columns, share, points) for columns in zip(truth.T, lower.T, upper.T)))


def _offsets(truth: Array, lower: Array, upper: Array, share: float, points: bool) -> Offsets:
    known = ~np.isnan(truth)
    truth, lower, upper = truth[known].astype(np.float64), lower[known], upper[known]
    middle = _middle(lower, upper)
    edges = _edges(np.sort(middle), max(LEAST, math.ceil(2 / (1 - share))))
    level = np.searchsorted(edges, middle, side="right")
    low, high, count = [], [], []
    for number in range(len(edges) + 1):
        here = level == number
        n = int(here.sum())
        count.append(n)
        # the ranks of a share such as 0.8 are whole numbers that floating point misses by 1e-15
        below = int(np.floor((n + 1) * (1 - share) / 2 + 1e-9))
        above = int(np.ceil((n + 1) * (1 + share) / 2 - 1e-9))
        low.append(np.sort(truth[here] - lower[here])[max(below, 1) - 1] if n else -np.inf)
        high.append(np.sort(truth[here] - upper[here])[min(above, n) - 1] if n else np.inf)
    if points:
        low, high = [min(end, 0.0) for end in low], [max(end, 0.0) for end in high]
    return Offsets(edges, np.asarray(low, np.float32), np.asarray(high, np.float32), tuple(count))


def _edges(sorted_middle: Array, least: int) -> Array:
    """Where equal parts begin, at least `least` values in each: a value that is frequent stays in one level."""
    n, kept, begun = len(sorted_middle), list[np.float32](), 0
    parts = min(LEVELS, n // least)
    for edge in (sorted_middle[n * part // parts] for part in range(1, parts)):
        here = int(np.searchsorted(sorted_middle, edge, side="left"))
        if here - begun >= least and n - here >= least:
            kept.append(edge)
            begun = here
    return np.array(kept, np.float32)


def _middle(lower: Array, upper: Array) -> Array:
    return (lower + upper) * np.float32(0.5)
