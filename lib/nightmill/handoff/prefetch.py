"""A thread that fills reused slots ahead of their consumer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from queue import SimpleQueue
from typing import TypeVar

Work = TypeVar("Work")
Slot = TypeVar("Slot")


def prefetched(
    work: Iterable[Work], slots: Sequence[Slot], fill: Callable[[Work, Slot], None], held: int
) -> Generator[Slot]:
    """Yields a filled slot for each item of `work`; a slot is refilled once `held` further ones have been taken.

    An exception in the thread is raised here. Closing the iterator ends the thread before it returns.
    """
    free: SimpleQueue[Slot | None] = SimpleQueue()
    ready: SimpleQueue[Slot | BaseException | None] = SimpleQueue()
    stopped = threading.Event()
    for slot in slots:
        free.put(slot)

    def run() -> None:
        try:
            for item in work:
                slot = free.get()
                if slot is None or stopped.is_set():
                    return
                fill(item, slot)
                ready.put(slot)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=run, name="nightmill-prefetch", daemon=True)
    thread.start()
    taken: deque[Slot] = deque()
    try:
        while (filled := ready.get()) is not None:
            if isinstance(filled, BaseException):
                raise filled
            taken.append(filled)
            yield filled
            if len(taken) >= held:
                free.put(taken.popleft())
    finally:
        stopped.set()
        free.put(None)
        thread.join()
