"""Which code on which machine a figure comes from."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from nightmill import __version__


def commit() -> str:
    """The checkout's commit with `+` for uncommitted changes, else the package's version."""
    folder = Path(__file__).parents[2]
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=folder, capture_output=True, text=True, check=True
        )
        return found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"


def machine() -> str:
    """Cores, memory and Python."""
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, Python {platform.python_version()}"


def stamp() -> str:
    """One line for the head of a results file."""
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {machine()}."
