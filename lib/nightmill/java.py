"""Finds the Java that Spark will start. Standard library only: set-up asks before anything is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from nightmill.errors import MachineError

OLDEST = 17
INSTALL = (
    f"install Java {OLDEST} or newer: on Debian or Ubuntu `sudo apt install openjdk-17-jre-headless`, "
    "on Fedora `sudo dnf install java-21-openjdk-headless`, on macOS `brew install openjdk@17`; "
    "if it lies in an unusual place, set JAVA_HOME to its folder"
)
_VERSION = re.compile(r'(?:version\s+"|^(?:openjdk|java)\s+)(\d+)((?:[._]\d+)*)([^"\s]*)', re.MULTILINE)


@dataclass(frozen=True)
class JavaInfo:
    """A Java that runs: its executable, its version as it prints it, and the feature release (8, 17, 21 …)."""

    path: Path
    version: str
    major: int


def require_java() -> JavaInfo:
    """The Java that Spark would start: `$JAVA_HOME/bin/java`, else `java` on the PATH.

    Raises MachineError when there is none, when it does not run, or when it is older than 17.
    """
    path = _find()
    text = _ask(path)
    found = parse_version(text)
    if found is None:
        raise MachineError(f"{path} does not say its version: {_first_line(text)}", where=str(path), fix=INSTALL)
    version, major = found
    if major < OLDEST:
        raise MachineError(
            f"Java {version} is too old: Spark needs {OLDEST} or newer", where=_origin(path), fix=INSTALL
        )
    return JavaInfo(path, version, major)


def parse_version(text: str) -> tuple[str, int] | None:
    """Version and feature release out of what `java -version` prints, or None.

    Reads `openjdk version "17.0.15"`, `java version "1.8.0_401"` (which is 8), `openjdk 21 2023-09-19`, `"24-ea"`.
    """
    found = _VERSION.search(text)
    if not found:
        return None
    first, rest = int(found[1]), found[2]
    major = int(rest[1:].split(".")[0].split("_")[0]) if first == 1 and rest else first
    return f"{first}{rest}{found[3]}", major


def _find() -> Path:
    home = os.environ.get("JAVA_HOME")
    if home:
        path = Path(home) / "bin" / "java"
        if not path.is_file():
            raise MachineError(
                f"JAVA_HOME is {home}, but there is no Java in it",
                where=str(path),
                fix=f"set JAVA_HOME to a folder with bin/java, or unset it; or {INSTALL}",
            )
        return path
    on_path = shutil.which("java")
    if on_path is None:
        raise MachineError(
            "Java is missing: there is no `java` on the PATH, nor a JAVA_HOME", where="PATH", fix=INSTALL
        )
    return Path(on_path)


def _ask(path: Path) -> str:
    try:
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"{path} does not run: {error}", where=_origin(path), fix=INSTALL) from None
    text = answer.stderr + answer.stdout
    if answer.returncode != 0:
        raise MachineError(f"{path} does not run: {_first_line(text)}", where=_origin(path), fix=INSTALL)
    return text


def _origin(path: Path) -> str:
    return f"{path} (from JAVA_HOME)" if os.environ.get("JAVA_HOME") else f"{path} (from the PATH)"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "it prints nothing")


def main() -> int:
    """Exit code 0 and silence with a Java that will do; else the error and its exit code."""
    try:
        require_java()
    except MachineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
