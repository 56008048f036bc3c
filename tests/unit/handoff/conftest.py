"""Small gold tables, written with literal rows, and indexes without any file behind them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake
from hypothesis import settings

from nightmill.handoff import Index, Runs, Segments

EVERY = timedelta(minutes=5)
STEP = 300_000_000  # µs

unhurried = settings(deadline=None, max_examples=100)  # the machine may be busy

Row = tuple[str, float, float | None, float | None]


def table_of(rows: list[Row]) -> pa.Table:
    """Rows (entity, step, x, target); feature `x2` is ten times `x`."""
    entity, step, x, target = zip(*rows, strict=True)
    ts = pa.array([int(s * STEP) for s in step], pa.timestamp("us", "UTC"))
    x2 = [None if value is None else 10 * value for value in x]
    columns = {"entity": pa.array(entity, pa.string()), "ts": ts, "day": ts.cast(pa.date32())}
    values = {
        "x": pa.array(x, pa.float32()),
        "x2": pa.array(x2, pa.float32()),
        "target": pa.array(target, pa.float32()),
    }
    return pa.table(columns | values)


def write_gold(folder: Path, *files: list[Row], rows_per_group: int | None = None, **options: Any) -> str:
    """Writes each list of rows as one file of a Delta table; returns its path."""
    uri = str(folder / "gold")
    if rows_per_group:
        options["writer_properties"] = WriterProperties(max_row_group_size=rows_per_group)
    for rows in files:
        write_deltalake(uri, table_of(rows), mode="append", **options)
    return uri


@pytest.fixture
def gold(tmp_path: Path) -> Callable[..., str]:
    """`write_gold` into the test's folder."""
    return partial(write_gold, tmp_path)


def series(entity: str, steps: range, base: float = 0.0) -> list[Row]:
    """Rows with x = base + step and target = -x."""
    return [(entity, step, base + step, -(base + step)) for step in steps]


def make_index(*runs: tuple[str, int, int]) -> Index:
    """An index of runs (entity, first step, length), given in logical order."""
    names = sorted({name for name, _, _ in runs})
    length = np.array([n for _, _, n in runs], np.int64)
    first = np.cumsum(length) - length
    entity = np.array([names.index(name) for name, _, _ in runs], np.int64)
    zeros = np.zeros_like(first)
    table = Runs(entity, first, length, np.array([step * STEP for _, step, _ in runs], np.int64))
    return Index(names, table, Segments(first, length, zeros, zeros, first), STEP, int(length.sum()), "test")
