"""What a task takes of its machine."""

from types import SimpleNamespace

import pytest
import torch

from nightmill.score.task import Place


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
