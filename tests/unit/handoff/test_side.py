from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nightmill.errors import ConfigError, DataRefused
from nightmill.handoff import Batches, Cache, Plan, Side, Window, build_index, pin, select_samples

from .conftest import EVERY, STEP, Row, series, write_gold

NAN = float("nan")


def side_of(folder: Path, rows: list[Row], every: int, **options: Any) -> Side:
    """A side input whose rows come every `every` steps of the samples."""
    gold = pin(write_gold(folder / "side", rows))
    return Side(gold, build_index(gold, every * EVERY), ["x"], **{"lookback": 2, **options})


def batches_of(folder: Path, rows: list[Row], batch: int = 64, **options: Any) -> Batches:
    gold = pin(write_gold(folder / "main", rows))
    index = build_index(gold, EVERY)
    samples = select_samples(index, Window(1, 0))
    return Batches(gold, index, Plan(samples, batch, 0, shuffle=False), features=["x"], **options)


def windows(batches: Batches, name: str = "side") -> list[list[float]]:
    """The side's windows of all samples in order."""
    return [
        torch.nan_to_num(window[:, 0], nan=-1).tolist()
        for batch in batches.epoch(0)
        for window, weight in zip(batch.more[name], batch.weight, strict=True)
        if weight
    ]


def test_a_slower_input_is_what_was_known_at_the_origin(tmp_path):
    hourly = [("city", 0, 10.0, 0.0), ("city", 3, 13.0, 0.0), ("city", 6, 16.0, 0.0)]
    found = windows(batches_of(tmp_path, series("a", range(8)), sides={"side": side_of(tmp_path, hourly, 3)}))
    assert found == [[-1, 10], [-1, 10], [-1, 10], [10, 13], [10, 13], [10, 13], [13, 16], [13, 16]]


def test_a_faster_input_is_seen_up_to_the_origin(tmp_path):
    gold = pin(write_gold(tmp_path / "main", [("a", 0, 0.0, 0.0), ("a", 3, 3.0, 0.0)]))
    index = build_index(gold, 3 * EVERY)
    side = side_of(tmp_path, series("a", range(6)), 1, lookback=3)
    plan = Plan(select_samples(index, Window(1, 0)), 2, 0, shuffle=False)
    found = windows(Batches(gold, index, plan, features=["x"], sides={"side": side}))
    assert found == [[-1, -1, 0], [1, 2, 3]]


def test_what_is_known_before_it_happens_is_seen_ahead(tmp_path):
    plan = [("city", step, float(step), 0.0) for step in range(0, 12, 2)]
    found = windows(batches_of(tmp_path, series("a", range(6)), sides={"side": side_of(tmp_path, plan, 2, ahead=2)}))
    assert found[0] == [-1, 0, 2, 4] and found[3] == [0, 2, 4, 6] and found[5] == [2, 4, 6, 8]


def test_what_comes_late_is_not_known_yet(tmp_path):
    rows = series("city", range(8))
    found = windows(
        batches_of(tmp_path, series("a", range(4)), sides={"side": side_of(tmp_path, rows, 1, delay=2 * STEP)})
    )
    assert found == [[-1, -1], [-1, -1], [-1, 0], [0, 1]]


def test_windows_of_another_input_cross_no_gap_and_the_last_known_row_stays(tmp_path):
    rows = [("city", step, float(step), 0.0) for step in (0, 1, 5, 6)]
    found = windows(batches_of(tmp_path, series("a", range(8)), sides={"side": side_of(tmp_path, rows, 1)}))
    assert found == [[-1, 0], [0, 1], [0, 1], [0, 1], [0, 1], [-1, 5], [5, 6], [5, 6]]


def test_entities_are_matched_by_name_or_as_told_and_some_have_none(tmp_path):
    main = series("a", range(2)) + series("b", range(2)) + series("c", range(2))
    rows = series("a", range(2), base=100) + series("b", range(2), base=200)
    side = side_of(tmp_path, rows, 1, lookback=1)
    assert windows(batches_of(tmp_path, main, sides={"side": side})) == [[100], [101], [200], [201], [-1], [-1]]
    told = Side(side.gold, side.index, ["x"], 1, entities={"a": "b", "c": "a"})
    (tmp_path / "again").mkdir()
    found = windows(batches_of(tmp_path / "again", main, sides={"side": told}))
    assert found == [[200], [201], [-1], [-1], [100], [101]]


def test_tables_that_share_no_entity_are_refused(tmp_path):
    side = side_of(tmp_path, series("x", range(2)) + series("y", range(2)), 1)
    with pytest.raises(DataRefused, match="no entity is in both tables"):
        batches_of(tmp_path, series("a", range(3)), sides={"side": side})


def test_padding_samples_see_nothing(tmp_path):
    side = side_of(tmp_path, series("a", range(5)), 1)
    (batch,) = batches_of(tmp_path, series("a", range(3)), batch=5, sides={"side": side}).epoch(0)
    assert batch.more["side"].shape == (5, 2, 1) and batch.more["side"][3:].isnan().all()


def test_a_rank_without_samples_has_empty_windows(tmp_path):
    side, main = side_of(tmp_path, series("a", range(5)), 1), pin(write_gold(tmp_path / "main", series("a", range(3))))
    index = build_index(main, EVERY)
    samples = select_samples(index, Window(1, 0))
    for rank in range(8):
        batches = Batches(main, index, Plan(samples, 2, 0, 8), rank, features=["x"], sides={"side": side})
        assert [batch.more["side"].shape[1:] for batch in batches.epoch(0)] == [(2, 1), (2, 1)]


def test_a_budget_is_shared_with_side_inputs_and_names_are_told_apart(tmp_path):
    side = side_of(tmp_path, series("a", range(500)), 1)
    rows, cache, sides = series("a", range(500)), Cache(str(tmp_path / "cache"), 2**20), {"side": side}
    whole = batches_of(tmp_path / "whole", rows, sides=sides)
    tight = batches_of(tmp_path / "tight", rows, sides=sides, memory=5000, cache=cache)
    assert windows(tight) == windows(whole) and len(list((tmp_path / "cache").glob("*.arrow"))) == 2
    with pytest.raises(ConfigError, match="'side' is an array and a side input"):
        batches_of(tmp_path / "named", rows, sides=sides, arrays=["side"])


cells = st.dictionaries(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), st.integers(0, 99), min_size=1)


@settings(deadline=None, max_examples=60)
@given(cells, cells, st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(0, 4), st.integers(1, 3))
def test_any_two_tables_are_joined_as_of_each_origin(
    tmp_path_factory, main, other, every, lookback, ahead, delay, world
):
    folder = tmp_path_factory.mktemp("side")
    table = {(name, step * every): value for (name, step), value in other.items()}
    rows = [(name, step, float(value), 0.0) for (name, step), value in sorted(table.items())]
    side = side_of(folder, rows, every, lookback=lookback, ahead=ahead, delay=delay * STEP,
                   entities={name: name for name in "abc"})  # fmt: skip
    gold = pin(write_gold(folder / "main", [(n, s, float(v), 0.0) for (n, s), v in sorted(main.items())]))
    index = build_index(gold, EVERY)
    samples, seen = select_samples(index, Window(1, 0)), 0
    for rank in range(world):
        plan = Plan(samples, 7, 0, world)
        for batch in Batches(gold, index, plan, rank, features=["x"], sides={"side": side}).epoch(0):
            for at in np.flatnonzero(batch.weight.numpy() > 0):
                name, step = index.entities[int(batch.entity[at])], int(batch.ts[at]) // STEP
                known = [s for n, s in table if n == name and s <= step - delay]
                expected = [NAN] * (lookback + ahead)
                if known:
                    last = max(known)
                    for direction, many, begin in ((-1, lookback, lookback - 1), (1, ahead + 1, lookback - 1)):
                        for k in range(many):
                            if (name, last + direction * k * every) not in table:
                                break
                            expected[begin + direction * k] = table[name, last + direction * k * every]
                assert np.array_equal(batch.more["side"][at, :, 0].numpy(), np.float32(expected), equal_nan=True)
                seen += 1
    assert seen == samples.count


def test_a_step_of_another_length_is_of_the_side(tmp_path):
    side = side_of(tmp_path, [("city", 0, 1.0, 0.0), ("city", 12, 2.0, 0.0)], 12)
    assert side.index.every_us == 12 * STEP == timedelta(hours=1) // timedelta(microseconds=1)


def test_a_side_input_cannot_be_known_before_it_is(gold):
    pinned = pin(gold(series("a", range(5))))
    with pytest.raises(ValueError, match="neither ahead nor delay are negative"):
        Side(pinned, build_index(pinned, EVERY), ["x"], lookback=2, delay=-STEP)
