"""Every origin of a day is predicted once: by the model where it can, else by the rule, with the reason why."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightmill.handoff import Index, Runs, Segments
from nightmill.score.origins import REASONS, Rest, find_origins

EVERY = 300_000_000


def index_of(rows):
    """Of entity -> steps at which it has a row."""
    entity, ts, names = [], [], sorted(rows)
    for number, name in enumerate(names):
        entity += [number] * len(rows[name])
        ts += sorted(rows[name])
    entity, ts = np.array(entity, np.int64), np.array(ts, np.int64) * EVERY
    begin = np.flatnonzero(np.append(True, (np.diff(entity) != 0) | (np.diff(ts) != EVERY)))
    length = np.diff(begin, append=len(ts))
    zero = np.zeros_like(begin)
    runs = Runs(entity[begin], begin, length, ts[begin])
    return Index(names, runs, Segments(begin, length, zero, zero, begin), EVERY, len(ts), "gold version 0")


def model(known, lookback, horizon, tells_apart=False):
    codes = {name: number for number, name in enumerate(known, start=1)}
    return SimpleNamespace(
        shape=SimpleNamespace(lookback=lookback, horizon=horizon, pad=not horizon),
        entities=sorted(known),
        codes=lambda names: np.array([codes.get(name, 0) for name in names]),
        network=SimpleNamespace(tells_apart=tells_apart),
    )


def found_in(index, bundle, day, last_only, by_name=True):
    """{(entity, step): (reason, row's step, late)}; the model's have the reason "" and nothing else."""
    origins = find_origins(index, bundle, (day[0] * EVERY, day[1] * EVERY), last_only, by_name)
    if origins is None:
        return None
    steps = np.concatenate([[0], *(t // EVERY + np.arange(n) for t, n in zip(index.runs.ts, index.runs.length))])[1:]
    samples, rest = origins.samples, origins.rest
    found = {}
    for run, first, last in zip(samples.run, samples.first, samples.last):
        for row in range(first, last + 1):
            found[index.entities[index.runs.entity[run]], int(steps[row])] = ("", None, None)
    each = rest.each(index.every_us)
    assert len(each.ts) == rest.total
    places = list(zip(each.entity.tolist(), each.ts.tolist()))
    assert places == sorted(places)
    for entity, ts, row, late, reason in zip(each.entity, each.ts, each.row, each.late, each.reason):
        place = origins.names[entity], int(ts // EVERY)
        assert place not in found
        found[place] = REASONS[reason], None if row < 0 else int(steps[row]), int(late)
    return found


def expected(rows, known, lookback, horizon, day, last_only, tells_apart):
    inside = {name: [t for t in steps if day[0] <= t < day[1]] for name, steps in rows.items()}
    if not any(inside.values()):
        return None
    latest = max(t for steps in inside.values() for t in steps)
    want = {}
    for name in sorted(set(rows) | (set(known) if horizon else set())):
        steps = set(rows.get(name, ()))
        last = [max(inside[name])] if inside.get(name) else [latest]
        times = last if last_only else range(day[0], latest + 1)
        for t in times:
            before = [s for s in steps if day[0] - lookback < s < t]
            if t in steps:
                whole = not horizon or all(t - back in steps for back in range(lookback))
                if tells_apart and name not in known:
                    want[name, t] = "unknown", t, 0
                else:
                    want[name, t] = ("", None, None) if whole else ("history", t, 0)
            elif horizon and before:
                want[name, t] = "absent", max(before), t - max(before)
            elif horizon and name in known:
                want[name, t] = "absent", None, 0
    return want


@given(
    rows=st.dictionaries(st.sampled_from("abcd"), st.sets(st.integers(0, 40), min_size=1), min_size=1),
    known=st.sets(st.sampled_from("abcdef")),
    lookback=st.integers(1, 5),
    horizon=st.integers(0, 2),
    last_only=st.booleans(),
    tells_apart=st.booleans(),
)
def test_each_origin_has_one_prediction(rows, known, lookback, horizon, last_only, tells_apart):
    day = (15, 30)
    found = found_in(index_of(rows), model(known, lookback, horizon, tells_apart), day, last_only)
    assert found == expected(rows, known, lookback, horizon, day, last_only, tells_apart)


def test_entities_that_are_to_be_unknown_are_for_the_model():
    index, bundle = index_of({"new": range(20)}), model({"old"}, 2, 1, tells_apart=True)
    assert {reason for reason, *_ in found_in(index, bundle, (10, 20), False).values()} == {"unknown", "absent"}
    told = found_in(index, bundle, (10, 20), False, by_name=False)
    assert {reason for (name, _), (reason, *_) in told.items() if name == "new"} == {""}


@pytest.mark.parametrize("size", [1, 5, 7, 1000])
def test_pieces_of_the_rest_hold_each_stretch_once(size):
    count = np.array([3, 1, 9, 2, 2, 6])
    rest = Rest(np.arange(6), *(np.arange(6) * 10 for _ in range(1)), count, *(np.zeros(6, int) for _ in range(3)))
    pieces = rest.cut(size)
    assert np.array_equal(np.concatenate([piece.entity for piece in pieces]), rest.entity)
    assert all(piece.total < size + 9 for piece in pieces)
    assert rest.take(slice(0)).cut(size) == []
