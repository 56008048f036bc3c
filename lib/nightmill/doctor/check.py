"""One thing that was looked at, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

State = Literal["ok", "warn", "fail"]
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: ok, warn (the work runs, but not well) or fail (it will not run)."""

    name: str
    state: State
    found: str
    fix: str = ""


def render(checks: Sequence[Check], console: Console | None = None) -> None:
    """Prints a table, one row per check, in the order of the work; what to do stands under what was found."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column("state", no_wrap=True)
    table.add_column("name", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:
        colour = _COLOURS[check.state]
        found = escape(check.found) + (f"\n[bold]fix:[/bold] {escape(check.fix)}" if check.fix else "")
        table.add_row(f"[{colour}]{check.state}[/{colour}]", check.name, found)
    (console or Console()).print(table)


def exit_code(checks: Sequence[Check]) -> int:
    """2 where a check failed, else 0."""
    return 2 if any(check.state == "fail" for check in checks) else 0
