"""Which samples train, validate and test: by time, by entity, or by folds of entities."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from nightmill.config.usecase import ByEntity, ByFolds, ByStart, ByTime, Split
from nightmill.errors import DataRefused
from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index, Ints, show_time
from nightmill.handoff.samples import Samples, Window, select_samples
from nightmill.handoff.seen import window_rows

CUTS = 10
"""Points of its life from which a validation entity is predicted: one each of few entities says little of a model."""


class Parts(NamedTuple):
    """The three parts of a split; no row to be predicted is in two of them."""

    train: Samples
    validation: Samples
    test: Samples


def split_samples(
    index: Index,
    window: Window,
    split: Split,
    seed: int,
    since: int | None = None,
    gold: Pinned | None = None,
    fold: int = 0,
    zone: str = "UTC",
) -> Parts:
    """Splits the windows from `since` (an even time of the index, µs) on.

    By time: the end of the table is the test, what lies before it the validation, each as long as `split` says; a
    window, or with `reach_back` what it predicts, lies inside one part; `zone` is where the first day of a part begins.

    By entity: the test's entities are predicted once each, from their last possible origin; each validation entity from
    points spread evenly over its life, the first a random one. Membership and points are hashes of seed and entity
    name, so they stay when other entities come or go.

    By folds the entities, in order of their mean target in `gold` and then by chance, are dealt out one by one, so that
    all folds have alike targets; those of `fold` are the test, all of their windows.

    By start each entity's first rows train and validate, and all that follow test.

    Raises DataRefused where a part is empty, or a single entity should be split by entity.
    """
    if split.folds:
        assert gold is not None
        parts = _by_fold(gold, index, window, split.folds, seed, since, fold)
        fix = "take more entities, fewer folds, or a shorter window"
    elif split.start:
        parts = _by_start(index, window, split.start, since)
        fix = "take more rows to begin with, or a shorter window"
    elif split.time:
        parts = _by_time(index, window, split.time, since, zone)
        fix = "take more history, a larger share, a shorter window or horizon"
    else:
        assert split.entity is not None
        parts = _by_entity(index, window, split.entity, seed, since)
        fix = "take more entities, another glob in evaluate.split.entity.test, or a shorter window"
    for name, part in zip(Parts._fields, parts, strict=True):
        if not part.count:
            first, last = (show_time(int(index.clock.real(ts))) for ts in index.span)
            what = f"the {name} part has no window of {window.lookback} rows and {window.horizon} to predict"
            where = f"{index.source}: {len(index.entities)} entities, {first} to {last}"
            raise DataRefused(what, where=where, fix=fix)
    if window.lookback == 1 and window.horizon == 0:
        return parts._replace(train=parts.train.as_they_lie(index))
    return parts


def _by_time(index: Index, window: Window, parts: ByTime, since: int | None, zone: str) -> Parts:
    every, (first, last) = index.every_us, index.span
    first, end = first if since is None else max(first, since), last + index.every_us
    steps = max(0, (end - first) // every)

    def begin(part: float | timedelta | date, stop: int) -> int:
        """First µs of a part that ends before `stop`."""
        if isinstance(part, date):
            midnight = datetime.combine(part, time(), ZoneInfo(zone))
            return int(index.clock.even((midnight - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)))
        length = part // timedelta(microseconds=1) if isinstance(part, timedelta) else int(steps * part) * every
        return stop - length

    test = begin(parts.test, end)
    validation = begin(parts.validation, test)
    back = parts.reach_back
    return Parts(
        select_samples(index, window, since=since, until=validation - window.reach),
        select_samples(index, window, since=validation, until=test - window.reach, reach_back=back),
        select_samples(index, window, since=test, reach_back=back),
    )


def _by_start(index: Index, window: Window, start: ByStart, since: int | None) -> Parts:
    runs = index.runs
    rows = np.bincount(runs.entity, runs.length, len(index.entities)).astype(np.int64)
    count = np.full_like(rows, start.rows) if isinstance(start.rows, int) else np.floor(rows * start.rows)
    count = np.minimum(count.astype(np.int64), rows)
    kept = count - np.floor(count * start.validation).astype(np.int64)
    first = np.cumsum(rows) - rows
    validation, test = (_reached(index, first, n) for n in (kept, count))
    back, reach = start.reach_back, window.reach
    return Parts(
        select_samples(index, window, since=since, until=validation - reach),
        select_samples(index, window, since=validation, until=test - reach, reach_back=back),
        select_samples(index, window, since=test, reach_back=back),
    )


def _reached(index: Index, first: Ints, count: Ints) -> Ints:
    """[run] even time, µs, of the row that follows `count` rows of the run's entity, which begins with row `first`."""
    runs = index.runs
    last = first + np.maximum(count, 1) - 1
    run = np.searchsorted(runs.first, last, "right") - 1
    ts = runs.ts[run] + (last - runs.first[run] + 1) * index.every_us
    return np.where(count > 0, ts, runs.ts[run])[runs.entity]


def _by_entity(index: Index, window: Window, shares: ByEntity, seed: int, since: int | None) -> Parts:
    if len(index.entities) < 2:
        what = f"'{index.entities[0]}' is the only entity, so it cannot both train and test"
        raise DataRefused(what, where=index.source, fix="write evaluate.split: {time: {…}}, or add entities")
    if shares.test is None:
        if len(index.entities) < 3:
            what = "two entities cannot train, validate and test"
            raise DataRefused(what, where=index.source, fix="write evaluate.split: {time: {…}}, or add entities")
        test = _share(index.entities, shares.validation, seed, "test", leave=2)
    else:
        test = {name for name in index.entities if fnmatchcase(name, shares.test)}
    others = [name for name in index.entities if name not in test]
    validation = _share(others, shares.validation, seed, "validation")
    train = [name for name in others if name not in validation]
    return Parts(
        select_samples(index, window, since=since, entities=train),
        _cut(index, select_samples(index, window, since=since, entities=validation), seed),
        select_samples(index, window, since=since, entities=test, last_only=True),
    )


def _by_fold(
    gold: Pinned, index: Index, window: Window, folds: ByFolds, seed: int, since: int | None, fold: int
) -> Parts:
    if len(index.entities) < folds.count:
        what = f"there are {len(index.entities)} entities for {folds.count} folds"
        raise DataRefused(what, where=index.source, fix="lower evaluate.split.folds.count, or add entities")
    mean = _mean_targets(gold, index, since)
    dealt = sorted(range(len(mean)), key=lambda e: (mean[e], _draw(seed, "fold", index.entities[e])))
    others = [entity for place, entity in enumerate(dealt) if place % folds.count != fold]
    every = 1 / folds.validation  # of these, as they lie in the same order
    validation = {others[int((turn + 0.5) * every)] for turn in range(int(len(others) * folds.validation))}
    names = {
        "train": [index.entities[entity] for entity in others if entity not in validation],
        "validation": [index.entities[entity] for entity in validation],
        "test": [index.entities[entity] for entity in dealt[fold :: folds.count]],
    }
    return Parts(**{part: select_samples(index, window, since=since, entities=some) for part, some in names.items()})


def _mean_targets(gold: Pinned, index: Index, since: int | None) -> list[float]:
    """Of each entity's known targets; infinite where none is known."""
    total, count = np.zeros(len(index.entities)), np.zeros(len(index.entities))
    for values, entity, _ in window_rows(gold, index, select_samples(index, Window(1, 0), since=since), ["target"]):
        known = ~np.isnan(values[:, 0])
        total += np.bincount(entity[known], values[known, 0], len(total))
        count += np.bincount(entity[known], minlength=len(count))
    mean: list[float] = np.divide(total, count, out=np.full_like(total, np.inf), where=count > 0).tolist()
    return mean


def _share(names: list[str], share: float, seed: int, what: str, leave: int = 1) -> set[str]:
    """Names whose draw falls below `share`; in a table so small that it would be none, one, and never all but a few."""
    draws = {name: _draw(seed, what, name) for name in names}
    chosen = {name for name, draw in draws.items() if draw < share}
    if share > 0 and not chosen and names:
        return {min(draws, key=draws.__getitem__)}
    if share < 1 and len(names) > 1:
        chosen = set(sorted(chosen, key=draws.__getitem__)[: len(names) - leave])
    return chosen


def _cut(index: Index, samples: Samples, seed: int) -> Samples:
    """CUTS origins per entity, evenly spaced over its rows from where a full window (or its whole life) is seen.

    Where they begin is uniform, and so is each; all entities count alike, however long they lived. What the origins of
    an entity say is pooled with all others': Dunn, Wasserman & Ramdas 2022, "Distribution-Free Prediction Sets for
    Two-Layer Hierarchical Models".
    """
    lookback = samples.window.lookback
    life = samples.seen_to - samples.seen_from + 1
    begin = np.maximum(samples.first, samples.seen_from + np.minimum(lookback, life) - 1)
    begin = np.minimum(begin, samples.last)
    edges = np.concatenate([[0], np.cumsum(samples.last - begin + 1)])
    entity = index.runs.entity[samples.run]
    bounds = np.flatnonzero(np.append(True, np.diff(entity) != 0)) if len(entity) else np.zeros(0, np.int64)
    chosen, origins = [], []
    for low, high in pairwise([*bounds.tolist(), len(entity)]):
        draw = _draw(seed, "cut", index.entities[entity[low]])
        share = (draw + np.arange(CUTS)) / CUTS
        number = np.unique(edges[low] + (share * (edges[high] - edges[low])).astype(np.int64))
        interval = np.searchsorted(edges, number, side="right") - 1
        chosen.append(interval)
        origins.append(begin[interval] + number - edges[interval])
    at = np.concatenate([*origins, np.zeros(0, np.int64)])
    return samples.take(np.concatenate([*chosen, np.zeros(0, np.int64)])).at(at, at)


def _draw(seed: int, what: str, name: str) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    text = f"{seed}/{what}/{name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / 2**48
