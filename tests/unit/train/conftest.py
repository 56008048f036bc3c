"""Small gold tables and jobs over them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nightmill.config import UseCase
from nightmill.train.job import TrainJob

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = ("speed", "minute_of_week")

Tables = Callable[..., str]
Jobs = Callable[..., TrainJob]


def hourly(entities: int, hours: int, seed: int = 0) -> pa.Table:
    """Speeds with a daily wave, one row an hour and entity, sorted."""
    rng = np.random.default_rng(seed)
    hour = np.arange(hours)
    columns: dict[str, list[Any]] = {name: [] for name in ("entity", "ts", "day", *FEATURES, "target")}
    for number in range(entities):
        speed = (50 + number + 10 * np.sin(hour / 24 * 2 * np.pi) + rng.normal(0, 1, hours)).astype(np.float32)
        stamps = [MONDAY + timedelta(hours=int(h)) for h in hour]
        columns["entity"] += [f"e{number}"] * hours
        columns["ts"] += stamps
        columns["day"] += [date(s.year, s.month, s.day) for s in stamps]
        columns["speed"] += speed.tolist()
        columns["minute_of_week"] += ((hour * 60) % 10080).tolist()
        columns["target"] += speed.tolist()
    types = {"entity": pa.string(), "ts": pa.timestamp("us", "UTC"), "day": pa.date32()}
    return pa.table({name: pa.array(v, types.get(name, pa.float32())) for name, v in columns.items()})


@pytest.fixture
def gold(tmp_path: Path) -> Tables:
    """Writes a gold table, one file, and returns its path."""

    def write(table: pa.Table | None = None, name: str = "gold") -> str:
        uri = str(tmp_path / name)
        write_deltalake(uri, hourly(3, 240) if table is None else table, mode="overwrite")
        return uri

    return write


@pytest.fixture
def job(tmp_path: Path) -> Jobs:
    """A forecast job over such a table; keyword arguments are options of its train section."""

    def make(uri: str, name: str = "city/traffic", seed: int = 3, split: Any = None, **train: Any) -> TrainJob:
        options = {"epochs": 2, "batch": 64, "workers": 0, "learning_rate": 0.01} | train
        case = UseCase.model_validate(
            {
                "name": name,
                "title": "t",
                "task": "forecast",
                "inputs": {"speed": "data/city/traffic"},
                "target": {"column": "speed", "horizon": 2},
                "features": [{"columns": ["speed"]}, {"calendar": ["minute_of_week"]}],
                "model": {"family": "stid", "window": 4, "hidden": 16, "blocks": 1, "embedding": 8, "slots": 24},
                "train": options,
                "evaluate": {"split": split or {"time": {"validation": 0.2, "test": 0.2}}},
            }
        )
        place = tmp_path / name.replace("/", ".") / str(seed)
        return TrainJob(
            case, uri, None, FEATURES, timedelta(hours=1), seed, str(place / "checkpoint"), str(place / "result")
        )

    return make


@pytest.fixture(autouse=True)
def each_epoch_ends_with_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short it was."""
    monkeypatch.setattr("nightmill.train.loop.AT_RISK", 0.0)
