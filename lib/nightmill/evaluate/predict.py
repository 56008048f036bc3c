"""Predictions of a model and of naive baselines over the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightmill.clock import DAY
from nightmill.config import UseCase
from nightmill.config.environment import Handoff
from nightmill.handoff import (
    Batch,
    Batches,
    Cache,
    Index,
    Parts,
    Pinned,
    Plan,
    Samples,
    Window,
    build_index,
    split_samples,
    window_rows,
)
from nightmill.models.bundle import Bundle
from nightmill.models.heads import counts, dispersion
from nightmill.models.naive import RULES, Setting

Floats = NDArray[np.float32]
BATCH = 4096


@dataclass(frozen=True)
class Material:
    """A gold table with its parts, as they were when the model was trained."""

    use_case: UseCase
    gold: Pinned
    index: Index
    parts: Parts
    zone: str
    handoff: Handoff

    @classmethod
    def of(
        cls,
        use_case: UseCase,
        gold: Pinned,
        every: timedelta,
        zone: str,
        seed: int,
        handoff: Handoff,
        fold: int = 0,
    ) -> Material:
        """The parts of a pinned table for the use case's window and split."""
        index = build_index(gold, every, zone)
        window = Window.of(use_case)
        history = use_case.train.history
        since = index.span[1] - history // timedelta(microseconds=1) if history else None
        parts = split_samples(index, window, use_case.evaluate.split, seed, since, gold, fold, zone)
        if use_case.evaluate.origins == "last":
            parts = parts._replace(test=last_of_days(parts.test, index))
        return cls(use_case, gold, index, parts, zone, handoff)

    def batches(self, samples: Samples, features: list[str]) -> Iterator[Batch]:
        """Batches in logical order with truth; padding has weight 0."""
        plan = Plan(samples, BATCH, seed=0, shuffle=False)
        cache = Cache.at(self.handoff.cache, self.handoff.size)
        memory = self.handoff.memory
        return Batches(self.gold, self.index, plan, features=features, memory=memory, cache=cache).epoch(0)

    def reshaped(self, samples: Samples, lookback: int) -> Samples:
        """The same origins seen through a window of another lookback."""
        window = Window(lookback, samples.window.horizon, samples.window.pad)
        return replace(samples, window=window)


def last_of_days(samples: Samples, index: Index) -> Samples:
    """Those origins after which another local day begins."""
    number = np.arange(samples.count)
    interval = np.searchsorted(samples.edges, number, side="right") - 1
    origin = samples.first[interval] + number - samples.edges[interval]
    run = samples.run[interval]
    ts = index.runs.ts[run] + (origin - index.runs.first[run]) * index.every_us
    today, next_day = (index.clock.local(at) // DAY for at in (ts, ts + index.every_us))
    last = today != next_day
    return samples.take(interval[last]).at(origin[last], origin[last])


def truths(material: Material, samples: Samples) -> Floats:
    """[n, steps] true values in logical order, NaN where unknown."""
    one = material.reshaped(samples, 1)
    return _gather(b.y[b.weight > 0].numpy().copy() for b in material.batches(one, ["target"]))


def groups_of(material: Material, samples: Samples) -> list[NDArray[np.int64]]:
    """Positions, in logical order, of the samples of each category by which figures are asked; all in one without."""
    names = material.use_case.grouped_by
    if not names:
        return [np.arange(samples.count)]
    one = material.reshaped(samples, 1)
    held = np.concatenate([b.x[b.weight > 0][:, -1].numpy().copy() for b in material.batches(one, names)])
    found = [np.flatnonzero(held[:, column] > 0) for column in range(len(names))]
    return [group for group in [*found, np.flatnonzero(~(held > 0).any(axis=1))] if len(group)]


def predictions(bundle: Bundle, material: Material, samples: Samples) -> tuple[Floats, Floats, Floats]:
    """(value, lo, hi), each [n, steps]."""
    codes = bundle.codes(material.index.entities)
    found: list[tuple[Floats, Floats, Floats]] = []
    for batch in material.batches(samples, list(bundle.shape.features)):
        real = (batch.weight > 0).numpy()
        said = bundle.predict(batch, codes)
        found.append((said.value[real], said.lo[real], said.hi[real]))
    value, lo, hi = (_gather(part) for part in zip(*found, strict=True))
    return value, lo, hi


def quantiles(bundle: Bundle, material: Material, samples: Samples) -> Floats:
    """[n, steps, levels] quantiles of a model at `evaluate.levels`."""
    codes, levels = bundle.codes(material.index.entities), material.use_case.evaluate.levels
    batches = material.batches(samples, list(bundle.shape.features))
    return _gather(bundle.quantiles(batch, codes, levels)[(batch.weight > 0).numpy()] for batch in batches)


def baseline_quantiles(name: str, material: Material, samples: Samples) -> Floats:
    """[n, steps, levels] quantiles round what a naive rule predicts, as wide as its errors on the validation part.

    Of counts those of a negative binomial distribution with the rule as mean and the likeliest dispersion, else the
    rule plus the quantiles of its errors at each step.
    """
    judged, levels = material.parts.validation, material.use_case.evaluate.levels
    truth, value = truths(material, judged), baseline(name, material, judged)
    middle = baseline(name, material, samples)
    if material.use_case.train.loss in ("poisson", "negative_binomial"):
        return counts(middle, dispersion(truth, value), levels)
    errors = np.nanquantile(truth - value, levels, axis=0).T  # [steps, levels]
    return (middle[..., None] + errors).astype(np.float32)


def baseline(name: str, material: Material, samples: Samples) -> Floats:
    """[n, steps] what a naive rule predicts; whatever it needs to know is taken from the training part."""
    case, index, kind = material.use_case, material.index, RULES[name]
    rule = kind(Setting.of(case, len(index.entities), index.every_us, material.zone))
    codes = np.arange(1, len(index.entities) + 1)
    rule.fit(window_rows(material.gold, index, material.parts.train, [kind.column, "target"]), codes)
    seen = material.reshaped(samples, samples.window.lookback if kind.looks_back else 1)
    return _gather(rule.predict_batch(batch, codes)[0] for batch in material.batches(seen, [kind.column]))


def _gather(parts: Any) -> Floats:
    return np.concatenate(list(parts)).astype(np.float32)
