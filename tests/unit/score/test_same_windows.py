"""Training and scoring see the same windows to the last bit, and predict the same, wherever files and days end."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from without_spark import (
    CASE,
    ENTITIES,
    FEATURES,
    HORIZON,
    HOUR,
    LOOKBACK,
    TIME,
    Here,
    midnight,
    model,
    registry,
    write_gold,
)

from nightmill.handoff import Batches, Plan, Window, build_index, pin, select_samples
from nightmill.lake.run import step
from nightmill.lake.tables import Lake
from nightmill.models.bundle import Bundle
from nightmill.score import score, slices, task

CHANGES = {date(2026, 3, 29): 23, date(2026, 10, 25): 25, date(2026, 6, 15): 24}


@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_windows_and_predictions_are_those_of_training(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("lake")
    day = data.draw(st.sampled_from(sorted(CHANGES)), "day")
    hours = CHANGES[day]
    begin = midnight(day)
    assert midnight(day + timedelta(days=1)) - begin == hours * HOUR
    # rows of the day before, of the day and of the day after, some missing, some without a value
    span, draws = range(-24, hours + 24), np.random.default_rng(data.draw(st.integers(0, 9), "seed"))
    lost = data.draw(st.sets(st.tuples(st.sampled_from(ENTITIES), st.sampled_from(span)), max_size=20), "lost")
    rows = [(name, begin + at * HOUR) for name in ENTITIES for at in span if (name, at) not in lost]
    values = draws.normal(50, 9, (len(rows), 3)).astype(np.float32)
    values[draws.random(values.shape) < 0.1] = np.nan
    cuts = data.draw(st.lists(st.integers(1, 70), max_size=3, unique=True), "files end after hours")
    lake = Lake.open(str(folder))
    uri = lake.table("gold", CASE.name).uri
    file = np.searchsorted(sorted(cuts), [(ts - begin) // HOUR + 24 for _, ts in rows], side="right")
    for number in range(len(cuts) + 1):
        some = [place for place in range(len(rows)) if file[place] == number]
        if some:
            write_gold(uri, [rows[place] for place in some], values[some], data.draw(st.sampled_from([7, 1000])))
    bundle = model()
    index = build_index(pin(uri), timedelta(hours=1))
    whole = select_samples(index, Window(LOOKBACK, HORIZON), with_future=False)
    wanted = _windows(uri, index, whole, bundle)
    wanted = {key: item for key, item in wanted.items() if begin <= key[1] < begin + hours * HOUR}
    assert wanted, "at most 20 rows of three entities are missing"
    seen: dict[tuple[str, int], bytes] = {}
    names: list[str] = []

    def watched(self, batch, codes):
        real = int((batch.weight > 0).sum())
        for x, entity, ts in zip(batch.x[:real].numpy(), batch.entity[:real].tolist(), batch.ts[:real].tolist()):
            seen[names[entity], ts] = x.tobytes()
        return found(self, batch, codes)

    found = Bundle.predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "LEAST", 10)
        patch.setattr(task, "BATCH", 8)
        patch.setattr(Bundle, "predict", watched)
        patch.setattr(task, "_predicted", _naming(task._predicted, names))
        with step(lake, "20260101T000000Z-score-abcdef", "score", CASE.name, timedelta(minutes=2)) as current:
            scored = score(lambda: Here(), current, CASE, TIME, registry(bundle), day)
    assert scored.rows == len(wanted) * HORIZON
    assert seen == {key: x for key, (x, _) in wanted.items()}
    table = lake.table("predictions", CASE.name).delta().to_pyarrow_table().to_pylist()
    told = {(r["entity"], round(r["ts"].timestamp() * 1e6), r["horizon"]): r["value"] for r in table}
    assert told == {
        (*key, number + 1): pytest.approx(float(one), rel=1e-6, abs=1e-6)
        for key, (_, value) in wanted.items()
        for number, one in enumerate(value)
    }
    assert {row["day"] for row in table} == {day}
    shutil.rmtree(folder)


def _naming(predicted: Any, names: list[str]) -> Any:
    """What yields predictions, telling first how entities are called."""

    def named(bundle: Bundle, assignment: Any, *rest: Any) -> Any:
        names[:] = assignment.names
        return predicted(bundle, assignment, *rest)

    return named


def _windows(uri: str, index: Any, samples: Any, bundle: Bundle) -> dict[tuple[str, int], tuple[bytes, Any]]:
    """(entity, origin) -> (window, prediction), as training reads and predicts them."""
    if not samples.count:
        return {}
    found = {}
    batches = Batches(pin(uri), index, Plan(samples, 64, seed=3), features=FEATURES)
    for batch in batches.epoch(0):
        said = bundle.predict(batch, bundle.codes(index.entities))
        for place in np.flatnonzero(batch.weight.numpy() > 0).tolist():
            key = index.entities[int(batch.entity[place])], int(batch.ts[place])
            found[key] = batch.x[place].numpy().tobytes(), said.value[place].copy()
    return found
