"""YAML files that know their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightmill.config.document import read
from nightmill.errors import ConfigError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.exit_code == 2
    return caught.value


def test_every_key_and_item_knows_its_line(tmp_path: Path) -> None:
    document = read(write(tmp_path, "a.yaml", "one: 1\ntwo:\n  three: [3,\n    4]\n"))
    assert document.data == {"one": 1, "two": {"three": [3, 4]}}
    lines = {
        at: document.place(at).rpartition(":")[2] for at in [("one",), ("two",), ("two", "three"), ("two", "three", 1)]
    }
    assert lines == {("one",): "1", ("two",): "2", ("two", "three"): "3", ("two", "three", 1): "4"}


def test_what_stands_nowhere_has_the_place_of_the_nearest_key_around_it(tmp_path: Path) -> None:
    document = read(write(tmp_path, "a.yaml", "one: 1\ntwo:\n  three: 3\n"))
    assert document.place(["two", "absent"]) == f"{tmp_path}/a.yaml:2"
    assert document.place(["absent"]) == f"{tmp_path}/a.yaml:1"


def test_extends_merges_mappings_and_replaces_everything_else(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "a: {x: 1, y: 2}\nb: [1, 2]\nc: {z: 1}\nd: 4\n")
    child = read(write(tmp_path, "child.yaml", "extends: base\na: {y: 3}\nb: [9]\nc: 5\n"))
    assert child.data == {"a": {"x": 1, "y": 3}, "b": [9], "c": 5, "d": 4}
    places = {key: Path(child.place(key.split("."))).name for key in ("a.x", "a.y", "b", "d")}
    assert places == {"a.x": "base.yaml:1", "a.y": "child.yaml:2", "b": "child.yaml:3", "d": "base.yaml:4"}


def test_a_model_of_another_family_takes_the_place_of_that_of_the_file_it_extends(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "model:\n  family: mlp\n  window: 50\n")
    assert read(write(tmp_path, "a.yaml", "extends: base\nmodel: {window: 9}\n")).data["model"]["family"] == "mlp"
    child = read(write(tmp_path, "b.yaml", "extends: base\nmodel: {family: trees}\n"))
    assert child.data == {"model": {"family": "trees"}}
    assert child.place(["model", "window"]).endswith("b.yaml:2")


@pytest.mark.parametrize("written", ["up/base", "up/base.yaml", "up/base.v2.yaml", "up/base.yml"])
def test_extends_names_a_file_beside_it_with_or_without_its_ending(tmp_path: Path, written: str) -> None:
    (tmp_path / "up").mkdir()
    write(tmp_path, written if written.endswith(("yaml", "yml")) else f"{written}.yaml", "a: 1\n")
    assert read(write(tmp_path, "child.yaml", f"extends: {written}\n")).data == {"a": 1}


def test_extends_of_a_missing_file_names_the_line(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "a.yaml", "x: 1\nextends: nowhere\n"))
    assert "nowhere" in error.what and error.where == f"{tmp_path}/a.yaml:2"


def test_extends_of_a_misspelt_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "traffic.yaml", "x: 1\n")
    assert refusal(write(tmp_path, "a.yaml", "extends: trafic\n")).fix == "did you mean 'traffic.yaml'?"


def test_extends_names_one_file(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "a.yaml", "x: 1\nextends: [b, c]\n"))
    assert "extends names one file" in error.what and error.where == f"{tmp_path}/a.yaml:2"


@pytest.mark.parametrize("circle", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_extends_in_a_circle_is_refused(tmp_path: Path, circle: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, parent in zip(circle, circle[1:] + circle[:1], strict=True):
        write(tmp_path, f"{name}.yaml", f"extends: {parent}\n")
    monkeypatch.chdir(tmp_path)
    error = refusal(Path("a.yaml"))
    assert "circle" in error.what and error.where.count("->") == len(circle)


def test_a_key_written_twice_names_the_second_line(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "a.yaml", "train:\n  epochs: 1\n  epochs: 2\n"))
    assert error.what == f"{tmp_path}/a.yaml:3: key 'epochs' appears twice"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", ":3: not YAML"),
        ("a: 1\n  b: 2\n", ":2: not YAML"),
        ("a: 1\nwhen: 2012-13-45\n", ":2: '2012-13-45' is no timestamp"),
        ("a: 1\n---\nb: 2\n", ":2: not YAML"),
        ("a: !python/object:os.system {}\nb: !secret x\n", "'x' is no"),
        ("- a\n- b\n", "expected `key: value` lines"),
        ("", "expected `key: value` lines"),
        ("a: &x {b: *x}\n", "an alias leads back into itself"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused_with_its_line(tmp_path: Path, text: str, line: str) -> None:
    assert line in refusal(write(tmp_path, "a.yaml", text)).what


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("title: Müller".encode("latin-1"))
    error = refusal(tmp_path / "a.yaml")
    assert "not UTF-8" in error.what and "at byte 8" in error.what


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot read" in refusal(tmp_path / name).what


def test_set_replaces_one_value_and_says_so(tmp_path: Path) -> None:
    document = read(write(tmp_path, "a.yaml", "train:\n  epochs: 1\n  batch: 2\n"))
    changed = document.with_value("train.epochs", "3")
    assert changed.data == {"train": {"epochs": 3, "batch": 2}}
    assert changed.place(["train", "epochs"]) == "--set train.epochs"
    assert changed.place(["train", "batch"]) == f"{tmp_path}/a.yaml:3"


def test_set_over_a_list_owns_all_that_it_replaced(tmp_path: Path) -> None:
    document = read(write(tmp_path, "a.yaml", "features:\n  - columns: [speed]\n"))
    assert (
        document.with_value("features", "[{columns: [sped]}]").place(["features", 0, "columns", 0]) == "--set features"
    )
    assert document.with_value("features.0.columns", "[sped]").place(["features"]) == "--set features.0.columns"
