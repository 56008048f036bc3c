"""The page that a benchmark writes: tables, and whether their bounds hold."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


class Report:
    """The page, and whether its bounds hold."""

    def __init__(self, text: str) -> None:
        self.text, self.missed = text, 0

    def head(self, title: str, *columns: str) -> None:
        """Begins a table."""
        self.text += f"\n## {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
        print(f"\n{title}", flush=True)

    def row(self, *cells: object, holds: bool = True) -> None:
        """Adds a row; one that misses its bound says so."""
        self.missed += not holds
        line = " | ".join(str(cell) for cell in cells) + ("" if holds else " **missed**")
        self.text += f"| {line} |\n"
        print(line, flush=True)

    def say(self, text: str) -> None:
        """Adds a paragraph."""
        self.text += f"\n{text}\n"
        print(text, flush=True)

    def finish(self, folder: Path | None, name: str) -> int:
        """Prints the page, and writes it where there is a folder for it; 1 where a bound is missed, else 0."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(self.text)
        print(self.text)
        return 1 if self.missed else 0


def run_parts(
    page: Path, head: str, stamp: str, parts: Mapping[str, Callable[[Report], None]], only: Iterable[str] | None
) -> int:
    """Runs parts of a benchmark and writes each into the page as it ends; 1 where one misses a bound, else 0.

    A part that is not run now stays on the page as it was, with the stamp of its own run.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    before = page.read_text() if page.exists() else ""
    kept = dict(re.findall(r"<!-- part: (\w+) -->\n(.*?)(?=<!-- part|\Z)", before, re.DOTALL))
    missed = 0
    for name in only or parts:
        report = Report("")
        parts[name](report)
        missed += report.missed
        kept[name] = f"{report.text}\n{stamp}\n\n"
        body = "".join(f"<!-- part: {part} -->\n{kept[part]}" for part in parts if part in kept)
        page.write_text(f"{head}\n{body.rstrip()}\n")
    return 1 if missed else 0


def inner(file: str, name: str, *arguments: Any) -> list[str]:
    """The command that calls a function of a benchmark in a process of its own; it prints the result as JSON."""
    return [sys.executable, file, "--inner", name, json.dumps(arguments)]


def apart(file: str, name: str, *arguments: Any) -> Any:
    """What a function of a benchmark returns in a process of its own."""
    ran = subprocess.run(inner(file, name, *arguments), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ran.stdout.splitlines()[-1])


def ran_inner(functions: Mapping[str, Any]) -> bool:
    """Whether this process was asked for one function alone; it is called then."""
    if sys.argv[1:2] != ["--inner"]:
        return False
    print(json.dumps(functions[sys.argv[2]](*json.loads(sys.argv[3]))))
    return True


def options(description: str | None, name: str, parts: Iterable[str]) -> argparse.ArgumentParser:
    """What benchmarks of several parts are asked."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, default=Path("build") / name)
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--only", nargs="+", choices=parts, help="these parts; the others stay on the page")
    return parser
