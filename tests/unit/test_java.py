"""Finding Java, and saying what is wrong with the one found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightmill.errors import MachineError
from nightmill.java import parse_version, require_java

TEMURIN = 'openjdk version "21.0.4" 2024-07-16 LTS\nOpenJDK Runtime Environment Temurin-21.0.4+7 (build 21.0.4+7-LTS)\n'
DEBIAN = 'openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)\n'
ORACLE_8 = 'java version "1.8.0_401"\nJava(TM) SE Runtime Environment (build 1.8.0_401-b10)\n'


@pytest.mark.parametrize(
    ("text", "version", "major"),
    [
        (DEBIAN, "17.0.15", 17),
        (TEMURIN, "21.0.4", 21),
        (ORACLE_8, "1.8.0_401", 8),
        ('java version "25" 2025-09-16 LTS', "25", 25),
        ('openjdk version "24-ea" 2025-03-18', "24-ea", 24),
        ('openjdk version "11.0.22"', "11.0.22", 11),
        ("openjdk 17.0.1 2021-10-19", "17.0.1", 17),
        ('Picked up JAVA_TOOL_OPTIONS: -Dversion=9\nopenjdk version "17.0.2"', "17.0.2", 17),
        ('openjdk version "17.0.14.0.101" (Red_Hat)', "17.0.14.0.101", 17),
    ],
)
def test_the_version_is_read_as_vendors_print_it(text: str, version: str, major: int) -> None:
    assert parse_version(text) == (version, major)


@pytest.mark.parametrize("text", ["", "Segmentation fault", "No Java runtime present, requesting install."])
def test_what_says_no_version_has_none(text: str) -> None:
    assert parse_version(text) is None


def fake_java(folder: Path, script: str) -> Path:
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No Java on the PATH and no JAVA_HOME."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return monkeypatch


def refusal() -> MachineError:
    with pytest.raises(MachineError) as caught:
        require_java()
    assert caught.value.exit_code == 2
    assert all(word in caught.value.fix for word in ("apt install", "dnf install", "brew install", "JAVA_HOME"))
    return caught.value


def test_java_on_the_path_is_found(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = fake_java(tmp_path, f"/bin/cat >&2 <<'END'\n{DEBIAN}END")
    bare.setenv("PATH", str(path.parent))
    assert (require_java().path, require_java().major) == (path, 17)


def test_java_home_goes_before_the_path(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", f"/bin/cat >&2 <<'END'\n{ORACLE_8}END")
    new = fake_java(tmp_path / "new", f"/bin/cat >&2 <<'END'\n{TEMURIN}END")
    bare.setenv("PATH", str(old.parent))
    bare.setenv("JAVA_HOME", str(new.parents[1]))
    assert require_java().major == 21


def test_no_java_is_refused(bare: pytest.MonkeyPatch) -> None:
    assert "Java is missing" in refusal().what


def test_old_java_is_refused_with_both_versions(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(fake_java(tmp_path, f"/bin/cat >&2 <<'END'\n{ORACLE_8}END").parents[1]))
    error = refusal()
    assert error.what == "Java 1.8.0_401 is too old: Spark needs 17 or newer" and "from JAVA_HOME" in error.where


def test_a_java_home_without_java_is_refused(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(tmp_path))
    assert refusal().what == f"JAVA_HOME is {tmp_path}, but there is no Java in it"


def test_a_java_that_fails_is_refused_with_its_words(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("PATH", str(fake_java(tmp_path, "echo 'Unable to locate a Java Runtime.' >&2; exit 1").parent))
    assert "does not run: Unable to locate a Java Runtime." in refusal().what


def test_a_java_for_another_machine_is_refused(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = fake_java(tmp_path, "")
    path.write_bytes(b"\x7fELF not for here")
    bare.setenv("PATH", str(path.parent))
    assert "does not run" in refusal().what


def test_set_up_asks_for_java_before_anything_is_installed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(root / "lib")}
    # -S: without site-packages, as on a machine that has only Python
    command = [sys.executable, "-S", "-m", "nightmill.java"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 2 and "Java is missing" in answer.stderr and "Traceback" not in answer.stderr
    answer = subprocess.run(command, env=environment | {"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (0, "")
