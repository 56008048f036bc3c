"""Versions, candidate and champion in MLflow on SQLite; the files stay plain files of the lake."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from nightmill.errors import ConfigError, DataRefused, WorkFailed
from nightmill.lake import registry as module
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake

FILES = {"model.safetensors": b"weights", "model.json": b"{}"}
NAME = "city/traffic"


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake.open(str(tmp_path_factory.mktemp("lake")))


@pytest.fixture
def registry(lake) -> Registry:
    return Registry.open(lake)


def test_a_use_case_without_models_has_neither_candidate_nor_champion(registry):
    assert (registry.candidate("city/none"), registry.champion("city/none"), registry.versions("city/none")) == (
        None,
        None,
        [],
    )


def test_the_newest_version_is_the_candidate_and_only_a_promotion_makes_a_champion(registry):
    one, two = (registry.register(FILES, NAME, f"run-{n}") for n in (1, 2))
    assert (one, two, registry.versions(NAME)) == (1, 2, [1, 2])
    assert (registry.candidate(NAME), registry.champion(NAME)) == (2, None)
    registry.promote(NAME, 1)
    assert (registry.candidate(NAME), registry.champion(NAME)) == (2, 1)


def test_a_versions_files_come_back_byte_by_byte(registry):
    files = {"model.safetensors": bytes(range(256)), "model.json": b'{"a": 1}'}
    assert registry.load("city/bytes", registry.register(files, "city/bytes", "run")) == files


def test_another_process_sees_what_was_registered(registry, lake):
    version = registry.register(FILES, "city/shared", "run")
    assert Registry.open(lake).candidate("city/shared") == version


def test_an_unknown_version_is_refused_naming_the_known_ones(registry):
    registry.register(FILES, "city/known", "run")
    for ask in (registry.load, registry.promote):
        with pytest.raises(ConfigError, match="no model version 9") as found:
            ask("city/known", 9)
        assert found.value.fix == "known: 1"


def test_a_lake_that_was_moved_takes_its_models_with_it(tmp_path):
    home, moved = tmp_path / "home", tmp_path / "moved"
    version = Registry.open(Lake.open(str(home))).register(FILES, "city/moved", "run")
    home.rename(moved)
    assert Registry.open(Lake.open(str(moved))).load("city/moved", version) == FILES


def test_a_version_that_lost_a_file_is_refused_naming_it(registry, lake):
    version = registry.register(FILES, "city/lost", "run")
    (file,) = Path(lake.root, "models", "city", "lost").rglob("model.json")
    file.unlink()
    with pytest.raises(DataRefused, match="lost its file model.json"):
        registry.load("city/lost", version)


def test_a_version_whose_file_was_damaged_is_refused_naming_it(registry, lake):
    version = registry.register(FILES, "city/damaged", "run")
    (file,) = Path(lake.root, "models", "city", "damaged").rglob("model.json")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataRefused, match="damaged file model.json"):
        registry.load("city/damaged", version)


def test_nothing_that_mlflow_says_reaches_the_user(tmp_path, capfd):
    # a new SQLite file: MLflow tells of every migration of its tables
    registry = Registry.open(Lake.open(str(tmp_path)))
    registry.register(FILES, NAME, "run")
    assert capfd.readouterr() == ("", "")


def test_a_registry_that_stays_locked_is_said_so(registry, lake, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    registry.register(FILES, NAME, "run")
    holder = sqlite3.connect(Path(lake.root, "mlflow.db"))
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(WorkFailed, match="stayed locked"):
            registry.promote(NAME, 1)
    finally:
        holder.close()
    registry.promote(NAME, 1)


def test_a_lake_on_an_object_store_needs_a_server():
    with pytest.raises(ConfigError, match="needs an MLflow server"):
        Registry.open(Lake("s3://bucket/lake"))


def _register(root: str, number: int) -> list[int]:
    registry = Registry.open(Lake.open(root))
    return [registry.register(FILES, f"city/p{number % 2}", f"run-{number}-{k}") for k in range(3)]


def test_processes_that_register_at_once_all_get_a_version(tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.starmap(_register, [(str(tmp_path), number) for number in range(3)])
    even = sorted(found[0] + found[2])
    assert even == [1, 2, 3, 4, 5, 6] and sorted(found[1]) == [1, 2, 3]
