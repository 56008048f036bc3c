"""The demo starts anew each time, and never in a folder of somebody else's."""

from pathlib import Path

import pytest

from nightmill.demo import _make_room
from nightmill.errors import ConfigError


def test_a_former_demo_gives_way(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    _make_room(folder)
    (folder / "lake" / "gold").mkdir(parents=True)
    (folder / "notes.txt").touch()
    _make_room(folder)
    assert not (folder / "lake").exists() and (folder / "notes.txt").exists()


def test_a_folder_of_anything_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    with pytest.raises(ConfigError, match="holds something else"):
        _make_room(tmp_path)
    assert (tmp_path / "lake").is_dir()
