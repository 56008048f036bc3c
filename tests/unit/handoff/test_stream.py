from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nightmill.errors import DataRefused
from nightmill.handoff import column_batches, pin, row_batches
from nightmill.handoff.prefetch import side_by_side

from .conftest import series, write_gold


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 50), st.integers(1, 20))
def test_batches_are_the_rows_of_the_files_in_order(tmp_path_factory, lengths, batch, rows_per_group):
    files = [series(f"e{number}", range(n), base=100 * number) for number, n in enumerate(lengths)]
    gold = pin(write_gold(tmp_path_factory.mktemp("gold"), *files, rows_per_group=rows_per_group))
    rows = [item.clone() for item in row_batches(gold, ["x2", "x"], batch)]
    columns = [[column.clone() for column in item] for item in column_batches(gold, ["x2", "x"], batch)]
    total = sum(lengths)
    assert [len(item) for item in rows] == [min(batch, total - at) for at in range(0, total, batch)]
    whole = torch.cat(rows)
    assert whole[:, 0].equal(10 * whole[:, 1])
    assert whole.equal(torch.cat([torch.stack(item, dim=1) for item in columns]))
    assert sorted(whole[:, 1].tolist()) == sorted(row[2] for file in files for row in file)
    position = {value: at for at, value in enumerate(whole[:, 1].tolist())}
    for file in files:
        assert (np.diff([position[row[2]] for row in file]) == 1).all(), "the rows of a file stay together and in order"


def test_missing_values_are_nan(gold):
    (batch,) = row_batches(pin(gold([("a", 0, 1.0, 5.0), ("a", 1, None, None)])), ["target", "x"], 8)
    assert torch.nan_to_num(batch, nan=-1).tolist() == [[5, 1], [-1, -1]]


def test_infinite_values_are_refused_naming_column_and_count(gold):
    uri = gold([("a", 0, 1.0, 0.0), ("a", 1, float("inf"), 0.0), ("a", 2, -float("inf"), 0.0)])
    with pytest.raises(DataRefused, match="columns are infinite: 'x' in 2 rows"):
        list(row_batches(pin(uri), ["target", "x"], 8))


def test_a_missing_column_and_a_missing_file_are_refused(gold):
    pinned = pin(gold(series("a", range(5))))
    with pytest.raises(DataRefused, match="no column 'speed'"):
        list(row_batches(pinned, ["speed"], 8))
    Path(pinned.uri, pinned.files[0].path).unlink()
    with pytest.raises(DataRefused, match="gone"):
        list(column_batches(pinned, ["x"], 8))


def test_stopping_early_leaves_no_thread(gold):
    pinned, before = pin(gold(series("a", range(500)), rows_per_group=10)), set(threading.enumerate())
    batches = row_batches(pinned, ["x"], 3)
    next(batches)
    batches.close()
    assert set(threading.enumerate()) == before


def test_tasks_run_side_by_side_and_come_in_order():
    together = threading.Barrier(2, timeout=10)

    def work(task: int) -> list[int]:
        if task < 2:
            together.wait()
        return [task] * 3

    assert list(side_by_side(range(6), work, 2, held=1)) == [n for task in range(6) for n in [task] * 3]


def test_an_error_of_a_task_comes_in_its_turn():
    def work(task: int) -> list[int]:
        if task == 2:
            raise ValueError("of task 2")
        return [task]

    found = []
    with pytest.raises(ValueError, match="of task 2"):
        for item in side_by_side(range(6), work, 3, held=2):
            found.append(item)
    assert found == [0, 1]


def test_infinite_values_are_counted_over_the_whole_table_for_every_column(gold):
    rows = [("a", step, float("inf") if step % 3 else 1.0, float("-inf") if step == 40 else 0.0) for step in range(50)]
    uri = gold(rows[:20], rows[20:], rows_per_group=4)
    with pytest.raises(DataRefused, match="columns are infinite: 'target' in 1 rows, 'x' in 33 rows"):
        list(row_batches(pin(uri), ["target", "x"], 8))
