"""The page that a benchmark writes: tables, and whether their bounds hold."""

from __future__ import annotations

from pathlib import Path


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
