"""Live errors of streamed tables are those that plain Python finds row by row."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nightmill.clock import Clock
from nightmill.lake.live import live_errors
from nightmill.lake.tables import Lake
from nightmill.score.table import SCHEMA

DAY = date(2026, 3, 28)
START = datetime(2026, 3, 28, tzinfo=UTC)
STEP = timedelta(minutes=30)
CLOCK = Clock.of(STEP)
GOLD = pa.schema(
    [("entity", pa.string()), ("ts", pa.timestamp("us", "UTC")), ("day", pa.date32()), ("target", pa.float32())]
)


def _gold(lake: Lake, rows: list[tuple[str, int, float | None]]) -> None:
    data = [{"entity": e, "ts": START + n * STEP, "day": (START + n * STEP).date(), "target": t} for e, n, t in rows]
    for part in (data[: len(data) // 2], data[len(data) // 2 :]):
        write_deltalake(lake.table("gold", "town/x").uri, pa.Table.from_pylist(part, schema=GOLD), mode="append")


def _predictions(lake: Lake, rows: list[tuple[str, int, int, float, float]]) -> None:
    data = [
        {"entity": e, "ts": START + n * STEP, "horizon": h, "target_ts": START + (n + h) * STEP, "target": "speed"}
        | {"value": v, "lo": v - w, "hi": v + w, "day": DAY, "hindsight": False}
        for e, n, h, v, w in rows
    ]
    table = pa.Table.from_pylist(data, schema=SCHEMA)
    write_deltalake(lake.table("predictions", "town/x").uri, table, mode="append", partition_by=["day"])


def test_errors_by_entity_and_horizon_are_those_of_plain_python(tmp_path: Path) -> None:
    lake, random = Lake.open(str(tmp_path)), np.random.default_rng(7)
    names = [f"e{n}" for n in range(20)]
    truth = {
        (e, n): float(np.float32(random.normal(50, 10))) for e in names for n in range(100) if random.random() < 0.9
    }
    unknown = {key for key in truth if random.random() < 0.1}
    _gold(lake, [(e, n, None if (e, n) in unknown else t) for (e, n), t in truth.items()])
    known = {key: t for key, t in truth.items() if key not in unknown}
    asked = [
        (e, n, h, float(np.float32(random.normal(50, 10))), float(random.uniform(0, 20)))
        for e in [*names, "new"] for n in range(40, 48) for h in (1, 2, 50)
    ]  # fmt: skip
    _predictions(lake, asked)
    gold = lake.table("gold", "town/x")
    errors = live_errors(lake.table("predictions", "town/x"), gold, gold.version() or 0, DAY, CLOCK)
    assert errors.horizons == [1, 2, 50]

    def plain(chosen: Callable[[str, int], bool]) -> dict[str, float]:
        rows = [(v - known[e, n + h], w, known.get((e, n)), known[e, n + h])
                for e, n, h, v, w in asked if chosen(e, h) and (e, n + h) in known]  # fmt: skip
        naive = [abs(origin - real) for _, _, origin, real in rows if origin is not None]
        return {
            "mae": sum(abs(e) for e, *_ in rows) / len(rows),
            "rmse": math.sqrt(sum(e * e for e, *_ in rows) / len(rows)),
            "bias": sum(e for e, *_ in rows) / len(rows),
            "coverage": sum(abs(e) <= w for e, w, *_ in rows) / len(rows),
            "naive_mae": sum(naive) / len(naive),
        }

    def same(found: Any, wanted: dict[str, float]) -> None:
        assert {name: getattr(found, name) for name in wanted} == pytest.approx(wanted, rel=1e-4)

    same(errors.over(), plain(lambda e, h: True))
    same(errors.over(horizon=50), plain(lambda e, h: h == 50))
    some = np.array([name in ("e3", "e4") for name in errors.entities])
    same(errors.over(some, 2), plain(lambda e, h: e in ("e3", "e4") and h == 2))
    same(errors.over(np.array([name == "e5" for name in errors.entities])), plain(lambda e, h: e == "e5"))
    wanted = {name: plain(lambda e, h, name=name: e == name)["mae"] for name in errors.entities if name != "new"}
    assert "new" in errors.entities and errors.by_entity() == pytest.approx(wanted, rel=1e-4)
    unknown = errors.over(np.array([name == "new" for name in errors.entities]))
    assert unknown.n == 0 and math.isnan(unknown.mae)


def test_without_predictions_or_truth_there_is_no_error(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    _gold(lake, [("a", 0, 1.0), ("a", 1, 2.0)])
    _predictions(lake, [("b", 1, 1, 3.0, 1.0)])
    gold, predictions = lake.table("gold", "town/x"), lake.table("predictions", "town/x")
    assert live_errors(predictions, gold, 1, DAY - timedelta(days=1), CLOCK).entities == []
    assert live_errors(predictions, gold, 1, DAY, CLOCK).over().n == 0
