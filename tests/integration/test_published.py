"""The published files are read as their publishers wrote them, and nothing of them is lost."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightmill import commands
from nightmill.commands import Work
from nightmill.config import Configuration

pytestmark = pytest.mark.usefixtures("spark")


def _prepared(name: str, shared_data: Path, lake: Path) -> Work:
    configuration = Configuration.load(raw=str(shared_data), lake=str(lake))
    for stage in (commands.land, commands.clean, commands.features):
        outcome = stage(Work(configuration, stage.__name__), [name])
        assert not outcome.failures
        if stage is commands.clean:
            for cleaned in outcome.results.values():
                total = cleaned.total()
                assert total.parsed == total.accepted, "nothing of these files is refused"
    return Work(configuration, "read")


@pytest.mark.slow
def test_engines_count_cycles_in_whitespace_columns_without_header(shared_data: Path, tmp_path: Path) -> None:
    work = _prepared("factory/turbofan_fd001", shared_data, tmp_path / "lake")
    gold = work.lake.table("gold", "factory/turbofan_fd001").delta().to_pyarrow_table().to_pylist()
    lines = {part: _lines(shared_data, f"{part}_FD001.txt") for part in ("train", "test")}
    assert len(gold) == len(lines["train"]) + len(lines["test"])
    rows = {(r["entity"], r["ts"]): r for r in gold}
    start = datetime(2000, 1, 1, tzinfo=UTC)
    for part, found in lines.items():
        left = [int(line[0]) for line in _lines(shared_data, "RUL_FD001.txt")] if part == "test" else [0] * 100
        last = {int(line[0]): int(line[1]) for line in found}
        for line in found[::977]:
            unit, cycle = int(line[0]), int(line[1])
            row = rows[f"{part}/{unit}", start + timedelta(hours=cycle - 1)]
            assert row["s4"] == pytest.approx(float(line[8]), rel=1e-6)
            assert row["s21"] == pytest.approx(float(line[25]), rel=1e-6)
            assert row["target"] == min(125, last[unit] - cycle + left[unit - 1])
            assert row["age"] == cycle


@pytest.mark.slow
def test_a_wide_matrix_without_a_time_column_becomes_rows_in_time(shared_data: Path, tmp_path: Path) -> None:
    work = _prepared("city/traffic_los_loop", shared_data, tmp_path / "lake")
    with (shared_data / "city/traffic_los_loop/los_speed.csv").open() as file:
        header, *matrix = list(csv.reader(file))
    gold = work.lake.table("gold", "city/traffic_los_loop").delta().to_pyarrow_table()
    assert gold.num_rows == len(header) * len(matrix) == 207 * 2016
    rows = {(r["entity"], r["ts"]): r for r in gold.to_pylist()}
    start = datetime(2012, 3, 1, 8, tzinfo=UTC)  # midnight in Los Angeles
    for step in range(0, 2016, 131):
        for column in range(0, 207, 23):
            row = rows[header[column], start + timedelta(minutes=5 * step)]
            assert row["speed"] == pytest.approx(float(matrix[step][column]), rel=1e-6)
            assert row["minute_of_week"] == (3 * 1440 + 5 * step) % 10080, "1 March 2012 was a Thursday"
    with (shared_data / "city/traffic_los_loop/los_adj.csv").open() as file:
        weights = [[float(w) for w in line] for line in csv.reader(file)]
    step, at = 700, start + timedelta(minutes=5 * 700)
    speeds = [float(v) for v in matrix[step]]
    for node in (0, 100, 206):
        edges = [w if other != node else 0.0 for other, w in enumerate(weights[node])]
        mean = sum(w * v for w, v in zip(edges, speeds, strict=True)) / sum(edges)
        assert rows[header[node], at]["speed_out"] == pytest.approx(mean, rel=1e-5)


def _lines(shared_data: Path, name: str) -> list[list[str]]:
    return [line.split() for line in (shared_data / "factory/turbofan_cmapss" / name).read_text().splitlines()]
