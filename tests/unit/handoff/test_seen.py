from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightmill.errors import DataRefused
from nightmill.handoff import Batches, Plan, Window, build_index, origin_rows, pin, select_samples

from .conftest import series, write_gold

EVERY = timedelta(minutes=5)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_origins_of_single_rows_are_those_of_batches(tmp_path_factory, data):
    files = [
        [row for name in names for row in series(name, data.draw(_steps), base=data.draw(st.integers(0, 50)))]
        for names in (["a", "c"], ["b"], ["a2", "d"])
    ]
    uri = write_gold(tmp_path_factory.mktemp("gold"), *files, rows_per_group=data.draw(st.integers(1, 30)))
    gold = pin(uri)
    index = build_index(gold, EVERY)
    first, last = index.span
    since, until = sorted(data.draw(st.lists(st.integers(first, last + 1), min_size=2, max_size=2)))
    samples = select_samples(
        index, Window(1, data.draw(st.integers(0, 2))), since=since, until=until, with_future=False
    )
    found = []
    for rows in origin_rows(gold, index, samples, ["x2", "x"], data.draw(st.integers(1, 20))):
        found += zip(rows.entity.tolist(), rows.ts.tolist(), rows.x[:, 0].tolist(), strict=True)
    wanted = []
    plan = Plan(samples, max(1, samples.count), seed=0, shuffle=False)
    for batch in Batches(gold, index, plan, features=["x2", "x"], target=None).epoch(0) if samples.count else ():
        wanted += zip(batch.entity.tolist(), batch.ts.tolist(), batch.x[:, 0].tolist(), strict=True)
    assert sorted(found) == sorted(wanted)
    assert len(found) == samples.count


_steps = st.builds(
    lambda first, stop, apart: range(first, stop, apart), st.integers(0, 20), st.integers(21, 60), st.integers(1, 3)
)


def test_longer_windows_are_more_than_their_origin(gold):
    pinned = pin(gold(series("a", range(9))))
    index = build_index(pinned, EVERY)
    with pytest.raises(ValueError, match="windows of 2 rows"):
        list(origin_rows(pinned, index, select_samples(index, Window(2, 0)), ["x"], 8))


def test_infinite_values_are_refused_after_the_last_row_naming_column_count_and_entity(gold):
    rows = [*series("a", range(5)), ("b", 0, float("inf"), 0.0), ("b", 1, -np.inf, 0.0), ("b", 2, 1.0, 0.0)]
    pinned = pin(gold(rows))
    index = build_index(pinned, EVERY)
    found = origin_rows(pinned, index, select_samples(index, Window(1, 0)), ["x"], 5)
    assert next(found).entity.tolist() == [0] * 5
    with pytest.raises(DataRefused, match="'x' in 2 rows, for instance of 'b'"):
        next(found)
