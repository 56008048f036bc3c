"""The files of conf/ are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightmill.config import Configuration

CONF = Path(__file__).parents[3] / "conf"
CONFIGURATION = Configuration.load(CONF)


@pytest.mark.parametrize("name", CONFIGURATION.use_case_names())
def test_a_use_case_loads_and_its_inputs_resolve(name: str) -> None:
    use_case = CONFIGURATION.use_case(name)
    inputs = CONFIGURATION.inputs(use_case)
    assert use_case.name == name and set(inputs) == set(use_case.inputs)


@pytest.mark.parametrize("name", CONFIGURATION.data_set_names())
def test_a_data_set_loads_and_lies_under_raw(name: str) -> None:
    data_set = CONFIGURATION.data_set(name)
    assert f"data/{data_set.name}" == name
    assert data_set.source.path.startswith("${raw}/")


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "env").glob("*.yaml")))
def test_an_environment_loads(name: str) -> None:
    assert Configuration.load(CONF, env=name).environment.lake == "lake"


def test_every_file_of_the_folder_is_one_of_these() -> None:
    named = [*CONFIGURATION.use_case_names(), *CONFIGURATION.data_set_names()]
    expected = {CONF / f"{name}.yaml" for name in named} | {CONF / "base.yaml", *(CONF / "env").glob("*.yaml")}
    assert expected == set(CONF.rglob("*.y*ml"))
