from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightmill.handoff import Samples, Window, select_samples

from .conftest import STEP, make_index, unhurried

INDEX = make_index(("a", 0, 5), ("a", 10, 3), ("b", 0, 4))  # logical rows 0-4, 5-7, 8-11


def origins(samples: Samples) -> list[int]:
    return [row for a, b in zip(samples.first, samples.last, strict=True) for row in range(a, b + 1)]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(1, 0), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (Window(3, 0), [2, 3, 4, 7, 10, 11]),
        (Window(2, 1), [1, 2, 3, 6, 9, 10]),
        (Window(4, 1), [3]),
        (Window(6, 0), []),
        (Window(3, 0, pad=True), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (Window(9, 2, pad=True), [0, 1, 2, 5, 8, 9]),
    ],
)
def test_windows_never_cross_a_gap_or_an_entity(window, expected):
    samples = select_samples(INDEX, window)
    assert origins(samples) == expected
    assert samples.count == len(expected)


def test_past_and_future_rows_lie_in_the_range():
    samples = select_samples(INDEX, Window(2, 1), since=1 * STEP, until=4 * STEP)  # steps 1, 2, 3
    assert origins(samples) == [2, 10]


def test_padding_begins_at_the_first_row_of_the_range():
    samples = select_samples(INDEX, Window(3, 0, pad=True), since=2 * STEP, until=4 * STEP)
    assert origins(samples) == [2, 3, 10, 11]
    assert samples.seen_from.tolist() == [2, 10]


def test_a_range_between_two_steps_takes_the_steps_inside():
    samples = select_samples(INDEX, Window(1, 0), since=STEP + 1, until=3 * STEP + 1)  # steps 2, 3
    assert origins(samples) == [2, 3, 10, 11]


def test_scoring_needs_no_future_rows():
    assert origins(select_samples(INDEX, Window(2, 12), with_future=False)) == [1, 2, 3, 4, 6, 7, 9, 10, 11]


def test_last_only_gives_each_entitys_last_possible_origin():
    assert origins(select_samples(INDEX, Window(3, 0), last_only=True)) == [7, 11]
    assert origins(select_samples(INDEX, Window(4, 0), last_only=True)) == [4, 11]  # a's last run is too short
    assert origins(select_samples(INDEX, Window(3, 12), last_only=True, with_future=False)) == [7, 11]


def test_only_named_entities_are_taken():
    assert origins(select_samples(INDEX, Window(3, 0), entities={"b", "unknown"})) == [10, 11]


def test_an_impossible_window_is_refused():
    with pytest.raises(ValueError, match="lookback"):
        Window(0, 1)


runs_of = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), min_size=1, max_size=6)


@unhurried
@given(runs_of, st.integers(1, 6), st.integers(0, 4), st.booleans(), st.integers(0, 40), st.integers(0, 40))
def test_samples_are_the_rows_whose_window_and_future_are_in_run_and_range(gaps, lookback, horizon, pad, since, length):
    runs, step = [], 0
    for gap, rows in gaps:
        step += gap + 1
        runs.append(("a", step, rows))
        step += rows
    until, index = since + length, make_index(*runs)
    expected, row = [], 0
    for _, first, rows in runs:
        inside = [since <= first + i < until for i in range(rows)]
        for i in range(rows):
            needed = range(i if pad else i - lookback + 1, i + horizon + 1)
            if all(0 <= k < rows and inside[k] for k in needed):
                expected.append(row + i)
        row += rows
    samples = select_samples(index, Window(lookback, horizon, pad), since=since * STEP, until=until * STEP)
    assert origins(samples) == expected
