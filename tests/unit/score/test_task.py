"""What a task takes of its machine, and what it says where it cannot do its work."""

import pickle
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from without_spark import CASE, ENTITIES, HOUR, TIME, Here, midnight, model, write_gold

from nightmill.errors import DataRefused
from nightmill.lake.registry import Registry
from nightmill.lake.run import step
from nightmill.lake.tables import Lake
from nightmill.score import score
from nightmill.score.task import Place

DAY = date(2026, 6, 15)


def context(cpus=1, **resources):
    found = {name: SimpleNamespace(addresses=addresses) for name, addresses in resources.items()}
    return SimpleNamespace(cpus=lambda: cpus, resources=lambda: found)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (None, Place(1, "cpu")),
        (context(2), Place(2, "cpu")),
        (context(4, gpu=["3"]), Place(4, "cuda:3")),
        (context(1, gpu=[], fpga=["0"]), Place(1, "cpu")),
    ],
)
def test_a_task_takes_the_cores_and_the_gpu_that_spark_granted(given, place):
    assert Place.of_task(given) == place


def test_its_libraries_keep_to_its_cores():
    before = torch.get_num_threads()
    try:
        assert Place(3).use() == torch.device("cpu")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_weights_that_are_damaged_are_refused_by_name_and_nothing_is_written(tmp_path):
    lake = Lake.open(str(tmp_path))
    rows = [(name, midnight(DAY) + at * HOUR) for name in ENTITIES for at in range(-10, 20)]
    write_gold(lake.table("gold", CASE.name).uri, rows, np.full((len(rows), 3), 50, np.float32))
    registry = Registry.open(lake)
    registry.promote(CASE.name, registry.register(model().to_files(), CASE.name, "run"))
    (weights,) = Path(lake.root, "models").rglob("model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4])
    with (
        step(lake, "20260101T000000Z-score-abcdef", "score", CASE.name, timedelta(minutes=2)) as current,
        pytest.raises(DataRefused, match="version 1 of city/traffic has a damaged file model.safetensors"),
    ):
        score(lambda: Here(), current, CASE, TIME, registry, DAY)
    assert not lake.table("predictions", CASE.name).exists()


def test_what_is_refused_is_the_same_in_another_process():
    error = pickle.loads(pickle.dumps(DataRefused("no", where="here", fix="look")))
    assert isinstance(error, DataRefused) and str(error) == "no\n  where: here\n  fix:   look"
