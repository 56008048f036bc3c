"""One streaming pass over the training rows: what models must know before the first step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightmill.errors import DataRefused
from nightmill.handoff import Index, Pinned, Samples, window_rows
from nightmill.models.shape import CLOCK, FOLDS, MINUTES_PER_DAY, WEEKEND, Fitted, Shape, local_day
from nightmill.train.leaks import warn_of_leaks

TARGET = "target"
SAMPLE, SAMPLE_VALUES = 200_000, 20_000_000
"""Rows, and values of them, at most that stand for all: for quantiles, and to look for leaks."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def vocabulary(index: Index, training: Samples) -> list[str]:
    """Sorted names of the entities that have training samples; an entity's code is its position + 1."""
    return [index.entities[i] for i in np.unique(index.runs.entity[training.run])]


def fit(
    gold: Pinned,
    index: Index,
    training: Samples,
    shape: Shape,
    smoothing: int | None = None,
    bins: int = 0,
    by_entity: bool = False,
) -> Fitted:
    """Means and standard deviations of the features and of the target, time-of-day profiles and classes of the target.

    Reads the row groups that hold training rows, a few at a time; memory does not grow with the table. Profiles are
    averaged over `smoothing` slots on each side and left out where it is None or the features hold no
    `minute_of_week`. With `bins` each feature is parted into so many by its quantiles, which may be those of some rows
    that stand for all. `by_entity` asks for means and deviations of each entity, too.
    Unknown values (NaN) are left out of everything. Independent of how many workers train later.

    Raises DataRefused naming feature, number and an entity where values are infinite and where targets are beyond
    their limits, and where nothing is known of a feature or of the target.
    """
    features = () if shape.array else shape.features  # arrays are taken as they are
    columns = [*features, TARGET]
    moments = _Moments(len(columns))
    clock = features.index(CLOCK) if CLOCK in features and smoothing is not None else None
    entities = vocabulary(index, training)
    profile = _Profile(len(entities), shape.slots) if clock is not None else None
    counts, some = np.zeros(shape.sorts, np.int64), _Some(min(SAMPLE, SAMPLE_VALUES // len(columns)))
    own = _OwnMoments(len(entities), len(features)) if by_entity else None
    codes = np.zeros(len(index.entities), np.int64)
    codes[np.unique(index.runs.entity[training.run])] = np.arange(1, len(entities) + 1)
    for values, entity, ts in window_rows(gold, index, training, columns):
        moments.add(values)
        _refuse_beyond(values[:, -1], shape, entity, index)
        if shape.sorts:
            codes_of = values[~np.isnan(values[:, -1]), -1].round().astype(np.int64)
            counts += np.bincount(codes_of, minlength=shape.sorts)
        some.add(values)
        if own is not None:
            own.add(codes[entity], values[:, :-1])
        if profile is not None:
            profile.add(codes[entity], ts, values[:, clock], values[:, -1])
    if unknown := [f"'{name}'" for name, known in zip(features, moments.count.tolist()) if not known]:
        what = f"feature {', '.join(unknown)} has no value in any of the {moments.rows:,} training rows"
        fix = "take it out of features:, or look at its column in silver"
        raise DataRefused(what, where=index.source, fix=fix)
    if not moments.count[-1] and shape.head != "anomaly":
        raise DataRefused(
            "no training row has a known target", where=index.source, fix="take more history, or look at the target"
        )
    mean, std = moments.mean.astype(np.float32), moments.std.astype(np.float32)
    day, held_out = (None, None) if profile is None else profile.smoothed(smoothing or 0)
    classes = counts.astype(np.float32) if shape.sorts else None
    edges = some.edges(bins) if bins else None
    if shape.array:
        mean, std = np.append(np.zeros(1, np.float32), mean), np.append(np.ones(1, np.float32), std)
    elif not shape.horizon and shape.head != "anomaly":
        warn_of_leaks(some.rows, shape, index.source)
    found = Fitted(
        mean=mean[:-1],
        std=std[:-1],
        target_mean=float(mean[-1]),
        target_std=float(std[-1]),
        profile=day,
        held_out=held_out,
        edges=edges,
        classes=classes,
    )
    if own is not None:
        own_mean, own_std = own.scales(moments)
        found = replace(found, entity_mean=own_mean, entity_std=own_std)
    return found


def refuse_unfit(gold: Pinned, index: Index, samples: Samples, shape: Shape) -> None:
    """Raises DataRefused where features or target of some windows' rows are infinite, or a target is beyond its limits.

    Only row groups are read of which the statistics do not say it.
    """
    seen = () if shape.array else shape.features
    for _ in window_rows(gold, index, samples, [*seen, TARGET], doubtful=True):
        pass
    if shape.low is not None or shape.high is not None:
        for target, entity, _ in window_rows(gold, index, samples, [TARGET]):
            _refuse_beyond(target[:, 0], shape, entity, index)


class _Moments:
    """Count, mean and sum of squared deviations per column, merged batch by batch (Chan, Golub & LeVeque 1979)."""

    def __init__(self, columns: int) -> None:
        self.count, self.mean, self.squares = (np.zeros(columns) for _ in range(3))
        self.rows = 0

    def add(self, values: Floats) -> None:
        known = ~np.isnan(values)
        self.rows += len(values)
        count = known.sum(axis=0)
        mean = np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1)
        squares = np.square(np.where(known, values - mean, 0)).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        delta = mean - self.mean
        self.squares += squares + np.square(delta) * self.count * count / total
        self.mean += delta * count / total
        self.count += count

    @property
    def std(self) -> Floats:
        """Standard deviations; 1 where a column hardly varies, so that dividing by it changes nothing."""
        std = np.sqrt(self.squares / np.maximum(self.count, 1))
        flat = std <= 1e-6 * np.maximum(1, np.abs(self.mean))
        return np.where(flat, 1.0, std)


class _OwnMoments:
    """Count, sum and sum of squares by entity code and feature, of values less the first one's, which they are like."""

    def __init__(self, entities: int, features: int) -> None:
        self.count, self.sum, self.squares = (np.zeros((entities + 1, features)) for _ in range(3))
        self.near = np.full((entities + 1, features), np.nan)

    def add(self, code: Ints, values: Floats) -> None:
        known = ~np.isnan(values)
        for column in range(values.shape[1]):
            at, value = code[known[:, column]], values[known[:, column], column].astype(np.float64)
            new, first = np.unique(at, return_index=True)
            near = self.near[:, column]
            near[new] = np.where(np.isnan(near[new]), value[first], near[new])
            value = value - near[at]
            size = len(self.count)
            self.count[:, column] += np.bincount(at, minlength=size)
            self.sum[:, column] += np.bincount(at, value, size)
            self.squares[:, column] += np.bincount(at, value**2, size)

    def scales(self, all_: _Moments) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(mean, standard deviation) [entity + 1, feature]; those of all where an entity has no value, and in row 0."""
        count = np.maximum(self.count, 1)
        mean = self.sum / count
        std = np.sqrt(np.maximum(self.squares / count - mean**2, 0))
        mean = mean + np.nan_to_num(self.near)
        none = self.count == 0
        mean, std = np.where(none, all_.mean[:-1], mean), np.where(none, all_.std[:-1], std)
        flat = std <= 1e-6 * np.maximum(1, np.abs(mean))
        return mean.astype(np.float32), np.where(flat, 1.0, std).astype(np.float32)


class _Some:
    """Rows that stand for all: each `stride`-th, where the stride doubles as they become many."""

    def __init__(self, most: int) -> None:
        self.most, self.stride, self.seen, self.held = most, 1, 0, list[NDArray[np.float32]]()

    def add(self, values: Floats) -> None:
        first = -self.seen % self.stride
        self.held.append(values[first :: self.stride].astype(np.float32))
        self.seen += len(values)
        while sum(map(len, self.held)) > self.most:
            self.held, self.stride = [np.concatenate(self.held)[::2]], 2 * self.stride

    @property
    def rows(self) -> NDArray[np.float32]:
        """[row, feature and then the target]."""
        return np.concatenate(self.held)

    def edges(self, bins: int) -> NDArray[np.float32]:
        """[feature, bins + 1] quantiles of the known values."""
        shares = np.linspace(0, 1, bins + 1)
        known = [column[~np.isnan(column)] for column in self.rows[:, :-1].T]
        none = np.zeros(1, np.float32)  # the few values that there are may all be among the rows that are not held
        return np.stack([np.quantile(column if len(column) else none, shares) for column in known]).astype(np.float32)


class _Profile:
    """Sums of the target by fold of the days, entity code (0 = all), weekday or weekend, and slot of the day."""

    def __init__(self, entities: int, slots: int) -> None:
        self.size = (FOLDS, entities + 1, 2, slots)
        self.sums, self.counts = np.zeros(self.size), np.zeros(self.size)

    def add(self, code: Ints, ts: Ints, minute: Floats, target: Floats) -> None:
        known = ~np.isnan(minute) & ~np.isnan(target)
        code, ts, minute, target = code[known], ts[known], minute[known], target[known]
        fold = local_day(ts, minute % MINUTES_PER_DAY) % FOLDS
        slot = (minute % MINUTES_PER_DAY * (self.size[-1] / MINUTES_PER_DAY)).astype(np.int64)
        place = np.ravel_multi_index((fold, code, (minute >= WEEKEND).astype(np.int64), slot), self.size)
        np.add.at(self.sums.reshape(-1), place, target)
        np.add.at(self.counts.reshape(-1), place, 1.0)

    def smoothed(self, reach: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(profile, held out) of `Fitted`: means over `reach` slots on each side, round midnight."""
        sums, counts = self.sums.sum(axis=0), self.counts.sum(axis=0)
        without = [_means(sums - own, counts - own_count, reach) for own, own_count in zip(self.sums, self.counts)]
        return _means(sums, counts, reach), np.stack(without)


def _means(sums: Floats, counts: Floats, reach: int) -> NDArray[np.float32]:
    """[entity + 1, 2, slots] smoothed means; code 0 is that of all entities.

    Where a cell has no row: the entity's other kind of day, then all entities, then the mean of everything.
    """
    sums, counts = sums.copy(), np.rint(counts)
    sums[0], counts[0] = sums.sum(axis=0), counts.sum(axis=0)
    reach = min(reach, (sums.shape[-1] - 1) // 2)
    shifts = range(-reach, reach + 1)
    sums, counts = (np.sum([np.roll(cells, by, axis=-1) for by in shifts], axis=0) for cells in (sums, counts))
    everything = sums[0].sum() / max(counts[0].sum(), 1)
    mean = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    mean = np.where(np.isnan(mean), mean[:, ::-1], mean)
    mean = np.where(np.isnan(mean), mean[:1], mean)
    return np.where(np.isnan(mean), everything, mean).astype(np.float32)


def _refuse_beyond(target: Floats, shape: Shape, entity: Ints, index: Index) -> None:
    low, high = (-np.inf if shape.low is None else shape.low), (np.inf if shape.high is None else shape.high)
    beyond = (target < low) | (target > high)
    if whole := shape.head == "classes":
        beyond |= target % 1 > 0
    if not beyond.any():
        return
    first = int(beyond.argmax())
    raise DataRefused(
        f"the target is {target[first]:g} in a row of '{index.entities[int(entity[first])]}', beyond what the "
        f"model can predict: {low:g} to {high:g}{', whole numbers' if whole else ''}",
        where=index.source,
        fix="choose another train.loss, or correct the target and run clean and features again",
    )
