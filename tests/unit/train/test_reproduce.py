"""A registered model trained again from its version of gold."""

from dataclasses import replace

import pytest
from deltalake import DeltaTable, write_deltalake
from safetensors.numpy import load, save

from nightmill.config import Environment
from nightmill.errors import ConfigError, DataRefused
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.models.bundle import WEIGHTS
from nightmill.train.job import Trained
from nightmill.train.ray_group import train_all
from nightmill.train.reproduce import reproduce

from .conftest import hourly

CASE = "city/traffic"


@pytest.fixture
def trained(tmp_path, job):
    """(lake, registry, files of version 1), trained on version 0 of a gold that has moved on since."""
    lake = Lake.open(str(tmp_path / "lake"))
    registry = Registry.open(lake)
    uri = lake.table("gold", CASE).uri
    write_deltalake(uri, hourly(3, 240))
    (found,) = train_all([job(uri, epochs=2, loss="quantile", patience=3)], 0, Environment())
    assert isinstance(found, Trained)
    files = found.bundle.to_files()
    assert registry.register(files, CASE, "run-1") == 1
    write_deltalake(uri, hourly(4, 300, seed=9), mode="overwrite")
    return lake, registry, files


def again(lake, registry, version=1):
    return reproduce(lake, registry, CASE, version, "run-2", Environment(), lambda line: None)


def test_the_same_weights_come_from_the_same_version(trained, tmp_path):
    lake, registry, files = trained
    before = {path for path in (tmp_path / "lake").rglob("*") if "training" in path.parts}
    found = again(lake, registry)
    assert found.same and found.largest_difference == 0 and found.differing == []
    assert found.parameters == sum(values.size for values in load(files[WEIGHTS]).values())
    assert (found.workers, found.gold_version) == (1, 0)
    after = {path for path in (tmp_path / "lake").rglob("*") if "training" in path.parts and path.is_file()}
    assert after <= before, "nothing is left behind"
    assert registry.versions(CASE) == [1]


def test_weights_that_came_otherwise_are_named(trained):
    lake, registry, files = trained
    other = load(files[WEIGHTS])
    other["head.linear.bias"] = other["head.linear.bias"] + 0.5
    registry.register(files | {WEIGHTS: save(other)}, CASE, "run-3")
    found = again(lake, registry, 2)
    assert not found.same and found.differing == ["head.linear.bias"]
    assert found.largest_difference == pytest.approx(0.5, rel=1e-4)


def test_a_version_of_the_table_that_is_gone_is_refused(trained):
    lake, registry, _ = trained
    table = DeltaTable(lake.table("gold", CASE).uri)
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(DataRefused, match="gone"):
        again(lake, registry)


def test_without_a_champion_a_version_must_be_named(trained):
    lake, registry, _ = trained
    with pytest.raises(ConfigError, match="city/traffic has no champion"):
        again(lake, registry, None)
    registry.promote(CASE, 1)
    assert again(lake, registry, None).same


def test_a_table_that_was_made_anew_is_refused(trained, job):
    lake, registry, _ = trained
    uri = lake.table("gold", CASE).uri
    import shutil

    shutil.rmtree(uri)
    write_deltalake(uri, hourly(3, 240, seed=5))
    with pytest.raises(DataRefused, match="holds other files than the model was trained on"):
        again(lake, registry)


def test_options_of_a_job_survive_the_models_files(job, gold):
    asked = job(gold(), epochs=1, history="5d", min_workers=2, workers=2)
    asked = replace(asked, since=77)
    (found,) = train_all([asked], 0, Environment())
    assert isinstance(found, Trained), found
    back = type(asked).from_bundle(found.bundle, asked.gold, {})
    assert back.use_case == asked.use_case and back.digest == asked.digest and back.window == asked.window
