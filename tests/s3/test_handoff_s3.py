"""The hand-off on an object store."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch
from deltalake import DeltaTable, write_deltalake

from nightmill.errors import DataRefused
from nightmill.handoff import Batches, Plan, Window, build_index, pin, row_batches, select_samples

pytestmark = pytest.mark.s3
EVERY = timedelta(minutes=5)


def day(number: int) -> pa.Table:
    steps, entities = np.tile(np.arange(100), 5) + 100 * number, np.repeat([f"e{e}" for e in range(5)], 100)
    x = np.arange(500, dtype=np.float32) + 1000 * number
    ts = pa.array(steps * 300_000_000, pa.timestamp("us", "UTC"))
    return pa.table({"entity": pa.array(entities), "ts": ts, "x": x, "target": -x})


def test_a_store_gives_the_same_batches_as_a_folder(store, tmp_path):
    places = {"s3://lake/gold/town": store, str(tmp_path / "gold"): None}
    found = []
    for uri, options in places.items():
        for number in range(3):
            write_deltalake(uri, day(number), mode="append", storage_options=options)
        gold = pin(uri, storage_options=options)
        index = build_index(gold, EVERY)
        plan = Plan(select_samples(index, Window(7, 3)), 64, 0)
        batches = Batches(gold, index, plan, features=["x"])
        found.append([batch.x.clone() for batch in batches.epoch(0)])
        rows = torch.cat([batch.clone() for batch in row_batches(gold, ["x", "target"], 64)])
        assert rows[:, 0].equal(-rows[:, 1]) and len(rows) == 1500
        assert "something" not in repr(gold) + gold.to_json()
    assert len(found[0]) == 23 and all(map(torch.equal, *found))


def test_what_is_not_there_or_not_ours_is_refused(store):
    with pytest.raises(DataRefused, match="no Delta table"):
        pin("s3://lake/gold/absent", storage_options=store)
    write_deltalake("s3://lake/gold/vacuumed", day(0), storage_options=store)
    gold = pin("s3://lake/gold/vacuumed", storage_options=store)
    write_deltalake("s3://lake/gold/vacuumed", day(1), mode="overwrite", storage_options=store)
    table = DeltaTable("s3://lake/gold/vacuumed", storage_options=store)
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(DataRefused, match="gone"):
        build_index(gold, EVERY)
