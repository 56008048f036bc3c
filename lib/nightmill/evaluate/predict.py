"""Predictions of a model and of naive baselines over the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightmill.config import UseCase
from nightmill.config.environment import Handoff
from nightmill.errors import DataRefused
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
)
from nightmill.models.bundle import Bundle

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
    def of(cls, use_case: UseCase, gold: Pinned, every: timedelta, zone: str, seed: int, handoff: Handoff) -> Material:
        """The parts of a pinned table for the use case's window and split."""
        index = build_index(gold, every)
        window = Window(use_case.model.window, use_case.target.horizon or 0, pad=not use_case.target.horizon)
        history = use_case.train.history
        since = index.span[1] - history // timedelta(microseconds=1) if history else None
        parts = split_samples(index, window, use_case.evaluate.split, seed, since)
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


def truths(material: Material, samples: Samples) -> Floats:
    """[n, steps] true values in logical order, NaN where unknown."""
    one = material.reshaped(samples, 1)
    feature = _any_feature(material)
    return _gather(b.y[b.weight > 0].numpy().copy() for b in material.batches(one, [feature]))


def predictions(bundle: Bundle, material: Material, samples: Samples) -> tuple[Floats, Floats, Floats]:
    """(value, lo, hi), each [n, steps]."""
    codes = bundle.codes(material.index.entities)
    found: list[tuple[Floats, Floats, Floats]] = []
    for batch in material.batches(samples, list(bundle.shape.features)):
        real = (batch.weight > 0).numpy()
        value, lo, hi = bundle.predict(batch, codes)
        found.append((value[real], lo[real], hi[real]))
    value, lo, hi = (_gather(part) for part in zip(*found, strict=True))
    return value, lo, hi


def baseline(name: str, material: Material, samples: Samples) -> Floats:
    """[n, steps] what a naive rule predicts; whatever it needs to know is taken from the training part."""
    return {"last_value": last_value, "time_of_day_mean": time_of_day_mean, "mean_life": mean_life}[name](
        material, samples
    )


def last_value(material: Material, samples: Samples) -> Floats:
    """The target's value at the origin, for every step ahead (persistence)."""
    column = material.use_case.target.column
    if column is None:
        raise DataRefused("last_value needs a forecast of a column", where=material.use_case.name)
    steps = material.use_case.target.steps
    one = material.reshaped(samples, 1)
    return _gather(
        np.repeat(b.x[b.weight > 0][:, -1, :1].numpy(), steps, axis=1) for b in material.batches(one, [column])
    )


def time_of_day_mean(material: Material, samples: Samples) -> Floats:
    """The entity's mean at the target's local time of day, weekdays and weekends apart (historical average)."""
    every = material.index.every_us
    slots = max(1, 86_400_000_000 // every)
    size = (len(material.index.entities), 2, slots)
    total, count = np.zeros(size), np.zeros(size)
    now = material.reshaped(material.parts.train, 1)
    rows = replace(now, window=Window(1, 0))
    for batch in material.batches(rows, [_any_feature(material)]):
        real = (batch.weight > 0).numpy() & np.isfinite(batch.y[:, 0].numpy())
        cell = (batch.entity.numpy()[real], *_local_slot(batch.ts.numpy()[real], material.zone, slots))
        np.add.at(total, cell, batch.y[:, 0].numpy()[real])
        np.add.at(count, cell, 1)
    entity_mean = total.sum((1, 2)) / np.maximum(count.sum((1, 2)), 1)
    mean = np.where(count > 0, total / np.maximum(count, 1), entity_mean[:, None, None])
    ahead = np.arange(1, material.use_case.target.steps + 1) * every
    found = []
    for batch in material.batches(material.reshaped(samples, 1), [_any_feature(material)]):
        real = (batch.weight > 0).numpy()
        times = batch.ts.numpy()[real][:, None] + ahead
        weekend, slot = _local_slot(times.ravel(), material.zone, slots)
        entity = np.repeat(batch.entity.numpy()[real], len(ahead))
        found.append(mean[entity, weekend, slot].reshape(times.shape).astype(np.float32))
    return _gather(found)


def mean_life(material: Material, samples: Samples) -> Floats:
    """The mean life in the training part minus the age, at least 0 and at most the cap."""
    life = material.use_case.target.remaining_life
    if life is None:
        raise DataRefused("mean_life needs target.remaining_life", where=material.use_case.name)
    total, count = 0.0, 0
    for batch in material.batches(material.reshaped(material.parts.train, 1), ["age"]):
        age, left = batch.x[:, -1, 0].numpy(), batch.y[:, 0].numpy()
        # a capped target says only that the end is farther away
        known = (batch.weight > 0).numpy() & np.isfinite(left) & (left < (life.cap or np.inf))
        total, count = total + float((age + left)[known].sum()), count + int(known.sum())
    mean = total / max(count, 1)
    one = material.reshaped(samples, 1)
    ages = _gather(b.x[b.weight > 0][:, -1, :].numpy().copy() for b in material.batches(one, ["age"]))
    return np.clip(mean - ages, 0, life.cap).astype(np.float32)


def _any_feature(material: Material) -> str:
    return material.use_case.target.column or "age"


def _local_slot(ts: NDArray[np.int64], zone: str, slots: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """(weekend 0/1, slot of the day) of UTC microseconds in a zone."""
    import pandas as pd

    local = pd.DatetimeIndex(ts.astype("datetime64[us]")).tz_localize("UTC").tz_convert(zone)
    minute = np.asarray(local.hour) * 60 + np.asarray(local.minute)
    return (np.asarray(local.weekday) >= 5).astype(int), minute * slots // 1440


def _gather(parts: Any) -> Floats:
    return np.concatenate(list(parts)).astype(np.float32)
