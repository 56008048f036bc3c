"""Scoring without Spark: a use case, its untrained model, its gold, and what stands in for a session."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import torch
from deltalake import WriterProperties, write_deltalake

from nightmill.config import Time, UseCase
from nightmill.config.models import Nlinear
from nightmill.models import build
from nightmill.models.bundle import Bundle
from nightmill.models.interval import calibrate
from nightmill.models.shape import Fitted, Shape

LOOKBACK, HORIZON = 5, 2
HOUR = 3_600_000_000
FEATURES = ("speed", "level")
ENTITIES = ("a", "b", "c")
ZONE = ZoneInfo("Europe/Berlin")
TIME = Time.model_validate({"column": "ts", "zone": "Europe/Berlin", "every": "1 h"})
CASE = UseCase.model_validate(
    {
        "name": "city/traffic",
        "title": "t",
        "task": "forecast",
        "inputs": {"speed": "data/city/traffic"},
        "target": {"column": "speed", "horizon": HORIZON},
        "features": [{"columns": list(FEATURES)}],
        "model": {"family": "nlinear", "window": LOOKBACK},
        "score": {"origins": "each", "fallback": "none"},
    }
)


class Here:
    """Spark, for what scoring asks of it: slices one after the other, in this process."""

    defaultParallelism = 2

    @property
    def sparkContext(self) -> Here:
        return self

    def broadcast(self, value: Any) -> Any:
        return SimpleNamespace(value=value, destroy=lambda: None)

    def parallelize(self, items: list[Any], count: int) -> Any:
        return SimpleNamespace(mapPartitions=lambda do: SimpleNamespace(collect=lambda: list(do(items))))


def midnight(day: date) -> int:
    """Of a local day, µs UTC."""
    return round(datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp() * 1_000_000)


def model() -> Bundle:
    """With weights that say something."""
    shape = Shape(FEATURES, LOOKBACK, HORIZON, False, len(ENTITIES), "speed", 60.0)
    options = Nlinear(family="nlinear", window=LOOKBACK)
    torch.manual_seed(0)
    network = build(options, shape, Fitted(np.zeros(2, np.float32), np.ones(2, np.float32), 50.0, 9.0))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    truth = np.random.default_rng(0).normal(50, 9, (200, HORIZON)).astype(np.float32)
    gold = {"version": 0, "until": 0}
    return Bundle(
        network, options, list(ENTITIES), calibrate(truth, truth, truth, 0.8), CASE.name, "speed", "c", gold, 0
    )


def registry(of: Bundle) -> Any:
    """One with that champion."""
    files = of.to_files()
    return SimpleNamespace(champion=lambda _: 1, stored=lambda *_: Held(files), storage_options={})


class Held:
    """A model's files at hand."""

    of = "version 1"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, name: str, storage_options: Any = None) -> bytes:
        return self.files[name]

    def load(self, storage_options: Any = None) -> dict[str, bytes]:
        return self.files


def write_gold(uri: str, rows: list[tuple[str, int]], values: Any, group: int = 1000) -> None:
    """One file of rows (entity, ts in µs UTC) with values [n, 3] of the features and the target."""
    entity, ts = zip(*rows, strict=True)
    stamps = pa.array(ts, pa.timestamp("us", "UTC"))
    local = [datetime.fromtimestamp(t / 1e6, UTC).astimezone(ZONE).date() for t in ts]
    columns = {"entity": pa.array(entity), "ts": stamps, "day": pa.array(local)}
    columns |= {name: pa.array(values[:, place]) for place, name in enumerate((*FEATURES, "target"))}
    properties = WriterProperties(max_row_group_size=group)
    write_deltalake(uri, pa.table(columns), mode="append", writer_properties=properties)
