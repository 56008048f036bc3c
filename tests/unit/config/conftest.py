"""A small configuration folder that tests spoil in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = """\
title: Loop detectors
source:
  format: csv
  path: "${raw}/{day}/*.csv"
contract:
  key: [detector, ts]
  time: {column: ts, every: 5 min}
  columns:
    speed: {unit: mph, between: [0, 120]}
    slot: {type: int}
"""
ROADS = """\
title: Roads
source: {format: csv, path: "${raw}/roads.csv"}
contract:
  key: [source, target]
  columns:
    weight: {}
"""
USE_CASE = """\
title: Speed ahead
task: forecast
inputs:
  speed: data/town/traffic
  roads: {from: data/town/roads, as: graph}
target:
  column: speed
  horizon: 12
features:
  - columns: [speed]
  - neighbours: {of: speed, over: roads}
  - calendar:
      - minute_of_week
model:
  family: stid
  window: 12
train:
  epochs: 3
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """conf/ with use case town/traffic, data sets data/town/{traffic,roads}, environment local."""
    folder = tmp_path / "conf"
    files = {
        "base.yaml": "lake: lake\nspark:\n  memory: 1g\n",
        "env/local.yaml": "extends: ../base.yaml\nspark:\n  master: local[2]\n",
        "data/town/traffic.yaml": DATA,
        "data/town/roads.yaml": ROADS,
        "town/traffic.yaml": USE_CASE,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
