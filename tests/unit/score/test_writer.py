"""A task's file: its rows, its statistics, and what a reader of one entity has to read."""

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest

from nightmill.clock import Clock
from nightmill.config.values import Months
from nightmill.models.bundle import Predicted
from nightmill.score import writer
from nightmill.score.table import FILE_SCHEMA
from nightmill.score.writer import Facts, Writer

NOW = datetime(2026, 3, 2, tzinfo=UTC)
EVERY = 300_000_000
FACTS = Facts("speed", 3, 7, "20260303T010203Z-score-abcdef", NOW + timedelta(days=1), False)


def micros(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)


def types(schema):
    return [(field.name, field.type) for field in schema]


def said(value):
    return Predicted(value, value - 1, value + 1, None)


def written(folder, entity, ts, value, steps=2, facts=FACTS, names=("a", "b", "c"), batch=3):
    """(file as a table, part) of origins given in batches."""
    ahead = np.arange(1, steps + 1)
    with Writer(str(folder), date(2026, 3, 2), 4, facts, list(names), ahead, Clock(EVERY)) as into:
        for begin in range(0, len(entity), batch):
            rows = slice(begin, begin + batch)
            into.add(entity[rows], ts[rows], said(value[rows]))
    part = into.part()
    return pq.read_table(folder / part.path), part


def test_rows_are_tidy_and_of_the_tables_types(tmp_path):
    entity, ts = np.array([0, 2]), micros(NOW) + np.array([0, EVERY])
    table, _ = written(tmp_path, entity, ts, np.array([[1, 2], [3, 4]], np.float32))
    assert types(table.schema) == types(FILE_SCHEMA)
    every = timedelta(minutes=5)
    common = {"target": "speed", "label": None, "score": None, "model_version": 3, "feature_version": 7,
              "run_id": FACTS.run_id, "scored_at": FACTS.scored_at, "hindsight": False, "fallback": None}  # fmt: skip
    assert table.to_pylist() == [
        {"entity": e, "ts": NOW + n * every, "horizon": h, "target_ts": NOW + (n + h) * every,
         "value": v, "lo": v - 1, "hi": v + 1} | common
        for e, n, h, v in (("a", 0, 1, 1.0), ("a", 0, 2, 2.0), ("c", 1, 1, 3.0), ("c", 1, 2, 4.0))
    ]  # fmt: skip


def test_a_step_of_a_day_ends_at_a_local_midnight_where_clocks_change(tmp_path):
    midnight = [datetime(2026, 3, day, tzinfo=ZoneInfo("Europe/Berlin")) for day in (28, 29, 30, 31)]
    clock = Clock.of(timedelta(days=1), "Europe/Berlin")
    with Writer(str(tmp_path), date(2026, 3, 28), 0, FACTS, ["a"], np.arange(1, 3), clock) as into:
        ts = clock.even([micros(midnight[0]), micros(midnight[1])])
        into.add(np.zeros(2, int), ts, said(np.zeros((2, 2), np.float32)))
    targets = pq.read_table(tmp_path / into.part().path)["target_ts"].to_pylist()
    assert targets == [midnight[1], midnight[2], midnight[2], midnight[3]]


def test_a_step_of_a_month_ends_with_it(tmp_path):
    clock, first = Clock.of(Months(1), "Europe/Berlin"), datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    with Writer(str(tmp_path), date(2026, 1, 1), 0, FACTS, ["a"], np.arange(1, 4), clock) as into:
        into.add(np.zeros(1, int), clock.even([micros(first)]), said(np.zeros((1, 3), np.float32)))
    table = pq.read_table(tmp_path / into.part().path)
    assert table["ts"].to_pylist() == [first] * 3
    assert table["target_ts"].to_pylist() == [first.replace(month=month) for month in (2, 3, 4)]


def test_statistics_tell_what_the_file_holds(tmp_path):
    entity, ts = np.array([1, 1, 2]), micros(NOW) + np.arange(3) * EVERY
    value = np.array([[5], [-2], [9]], np.float32)
    _, part = written(tmp_path, entity, ts, value, steps=1)
    told = json.loads(part.stats)
    assert (told["numRecords"], part.rows, part.size) == (3, 3, (tmp_path / part.path).stat().st_size)
    low, high = told["minValues"], told["maxValues"]
    assert (low["entity"], high["entity"], low["value"], high["value"]) == ("b", "c", -2, 9)
    assert (low["ts"], high["target_ts"]) == ("2026-03-02T00:00:00.000000Z", "2026-03-02T00:15:00.000000Z")
    assert (low["horizon"], high["horizon"], low["run_id"], low["model_version"]) == (1, 1, FACTS.run_id, 3)
    assert told["nullCount"] == dict.fromkeys(FILE_SCHEMA.names, 0) | {"label": 3, "score": 3, "fallback": 3}


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_row_groups_are_full_whatever_the_batches_and_hold_few_entities(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(writer, "GROUP", 20)
    names = [f"e{n:03}" for n in range(50)]
    entity, ts = np.repeat(np.arange(50), 3), np.tile(micros(NOW) + np.arange(3) * EVERY, 50)
    value = np.arange(300, dtype=np.float32).reshape(150, 2)
    table, part = written(tmp_path, entity, ts, value, names=names, batch=batch)
    assert table["value"].to_pylist() == list(range(300))
    assert table["entity"].to_pylist() == [name for name in names for _ in range(6)]
    footer = pq.ParquetFile(tmp_path / part.path).metadata
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [20] * 15
    first = footer.row_group(1).column(0).statistics
    assert (first.min, first.max) == ("e003", "e006")


def test_two_attempts_at_a_slice_never_write_the_same_file(tmp_path):
    entity, ts, value = np.array([0]), np.array([micros(NOW)]), np.ones((1, 2), np.float32)
    paths = {written(tmp_path, entity, ts, value)[1].path for _ in range(3)}
    assert len(paths) == 3 and all(path.startswith(f"day=2026-03-02/part-00004-{FACTS.run_id}-") for path in paths)


def test_a_file_without_rows_is_one_that_can_be_read(tmp_path):
    none = np.zeros(0, np.int64)
    table, part = written(tmp_path, none, none, np.zeros((0, 2), np.float32))
    assert part.rows == table.num_rows == 0 and types(table.schema) == types(FILE_SCHEMA)


def test_labels_scores_and_reasons_are_in_the_rows_that_have_them(tmp_path):
    entity, ts, value = np.array([0, 1]), micros(NOW) + np.arange(2) * EVERY, np.ones((2, 2), np.float32)
    marks = np.array([[0, -1], [-1, 0]], np.int32), np.array([[1.5, 0.5], [np.nan, 2]], np.float32)
    more = {"labels": ("alarm",), "reasons": ("history", "unknown", "absent")}
    with Writer(str(tmp_path), date(2026, 3, 2), 0, FACTS, ["a", "b"], np.arange(1, 3), Clock(EVERY), **more) as into:
        into.add(entity, ts, said(value), marks, np.array([2, 0]))
    table = pq.read_table(tmp_path / into.part().path)
    assert types(table.schema) == types(FILE_SCHEMA)
    assert table["label"].to_pylist() == ["alarm", None, None, "alarm"]
    assert table["score"].to_pylist() == [1.5, 0.5, None, 2.0]
    assert table["fallback"].to_pylist() == ["absent", "absent", "history", "history"]
    nulls = json.loads(into.part().stats)["nullCount"]
    assert (nulls["label"], nulls["score"], nulls["fallback"]) == (2, 1, 0)
