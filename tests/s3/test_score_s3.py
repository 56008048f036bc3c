"""Scoring on an object store, with nothing but the environment to tell it how to get in."""

from __future__ import annotations

import pickle
from datetime import date, timedelta

import numpy as np
import pytest
from without_spark import CASE, ENTITIES, HORIZON, HOUR, TIME, Here, midnight, model, write_gold

from nightmill.lake.registry import Registry
from nightmill.lake.run import step
from nightmill.lake.tables import Lake
from nightmill.score import score

pytestmark = pytest.mark.s3
DAY = date(2026, 6, 15)


class Listening(Here):
    """Keeps what is sent to the tasks."""

    sent = b""

    def broadcast(self, value):
        Listening.sent += pickle.dumps(value)
        return super().broadcast(value)

    def parallelize(self, items, count):
        Listening.sent += pickle.dumps(items)
        return super().parallelize(items, count)


def test_a_store_gets_the_same_predictions_as_a_folder(store, tmp_path, monkeypatch):
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    rows = [(name, midnight(DAY) + at * HOUR) for name in ENTITIES for at in range(-10, 20)]
    values = np.random.default_rng(0).normal(50, 9, (len(rows), 3)).astype(np.float32)
    found = []
    for root in ("s3://lake/city", str(tmp_path / "lake")):
        lake = Lake.open(root)
        registry = Registry.open(lake, f"sqlite:///{tmp_path}/{len(found)}.db")
        registry.promote(CASE.name, registry.register(model().to_files(), CASE.name, "run"))
        write_gold(lake.table("gold", CASE.name).uri, rows, values)
        for number in range(2):  # the second replaces the first and sweeps what is loose
            run = f"2026010{number + 1}T000000Z-score-abcdef"
            with step(lake, run, "score", CASE.name, timedelta(minutes=2)) as current:
                scored = score(lambda: Listening(), current, CASE, TIME, registry, DAY)
            assert scored.rows == 3 * 20 * HORIZON
        table = lake.table("predictions", CASE.name).delta().to_pyarrow_table()
        found.append(
            table.select(["entity", "ts", "horizon", "value", "lo", "hi", "day"]).sort_by(
                [("entity", "ascending"), ("ts", "ascending"), ("horizon", "ascending")]
            )
        )
        assert set(table["run_id"].to_pylist()) == {run}
    assert found[0].equals(found[1])
    assert b"something" not in Listening.sent and b"somebody" not in Listening.sent
