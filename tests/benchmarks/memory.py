"""The most that a measure of memory reaches while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def peak(measure: Callable[[], tuple[float, ...]], every: float) -> Iterator[list[float]]:
    """The largest values of each part of a measure, which is taken every so many seconds."""
    found, ended = list[float](measure()), threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            found[:] = map(max, found, measure())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def own() -> tuple[float, ...]:
    """(bytes of proportional set size of this process,)."""
    return (psutil.Process().memory_full_info().pss,)


def tree() -> tuple[float, ...]:
    """(PSS of this process and of all that it started, USS of this one alone), MiB.

    PSS shares out the pages of libraries, so that a process has less of them the more others run; USS leaves them out.
    """
    me, whole = psutil.Process(), 0.0
    for process in [me, *me.children(recursive=True)]:
        with suppress(psutil.Error):
            whole += process.memory_full_info().pss
    return whole / 2**20, me.memory_full_info().uss / 2**20
