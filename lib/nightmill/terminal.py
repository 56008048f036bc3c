"""How far a night is, shown on a terminal while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nightmill.logs import as_json
from nightmill.nightly import Underway


@contextmanager
def night_shown() -> Iterator[Callable[[Underway], None]]:
    """A bar below the lines on standard error, where that is a terminal for people; else nothing is shown."""
    if as_json() or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    columns = (TextColumn("{task.description}"), BarColumn(12), MofNCompleteColumn(), TimeElapsedColumn())
    rest = TextColumn("{task.fields[now]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    shown = Progress(*columns, rest, console=Console(stderr=True), transient=True, expand=True)
    with shown:
        task = shown.add_task("night", total=None, now="")

        def watch(night: Underway) -> None:
            now = ", ".join(night.now)
            shown.update(task, description=f"night of {night.day}", completed=night.done, total=night.of, now=now)

        yield watch
