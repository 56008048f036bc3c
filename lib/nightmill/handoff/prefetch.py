"""Threads that work ahead of their consumer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import Full, Queue, SimpleQueue
from typing import TypeVar

Work = TypeVar("Work")
Slot = TypeVar("Slot")
Item = TypeVar("Item")


def prefetched(
    work: Iterable[Work],
    slots: Sequence[Slot],
    fill: Callable[[Work, Slot], None],
    held: int,
    *,
    threads: int = 1,
    begin: Callable[[], None] = lambda: None,
) -> Generator[Slot]:
    """Yields a filled slot for each item of `work`, in order; it is refilled once `held` further ones have been taken.

    Each thread calls `begin` first, all of them before the first slot is yielded. An exception in a thread is raised
    here in its turn. Closing the iterator ends the threads before it returns.
    """
    left, turn, ended = iter(work), threading.Lock(), threading.Event()
    free: SimpleQueue[Slot | None] = SimpleQueue()
    order: SimpleQueue[SimpleQueue[Slot | BaseException] | None] = SimpleQueue()
    """Where each item's slot will come, in the order of the items."""
    begun = threading.Barrier(threads + 1)
    for slot in slots:
        free.put(slot)

    def next_one() -> tuple[Work, Slot, SimpleQueue[Slot | BaseException]] | None:
        """An item, a slot for it, and where to put that; None at the end."""
        with turn:
            slot = None if ended.is_set() else free.get()
            if slot is None or ended.is_set():  # it may have ended while this waited
                return None
            into: SimpleQueue[Slot | BaseException] = SimpleQueue()
            try:
                item = next(left)
            except StopIteration:
                ended.set()
                order.put(None)
                return None
            except BaseException as error:
                ended.set()
                into.put(error)
                order.put(into)
                return None
            order.put(into)
            return item, slot, into

    def run() -> None:
        begin()
        begun.wait()
        while (found := next_one()) is not None:
            item, slot, into = found
            try:
                fill(item, slot)
            except BaseException as error:
                ended.set()
                into.put(error)
                return
            into.put(slot)

    pool = [threading.Thread(target=run, name="nightmill-prefetch", daemon=True) for _ in range(threads)]
    for thread in pool:
        thread.start()
    taken: deque[Slot] = deque()
    try:
        begun.wait()
        while (coming := order.get()) is not None:
            filled = coming.get()
            if isinstance(filled, BaseException):
                raise filled
            taken.append(filled)
            yield filled
            if len(taken) >= held:
                free.put(taken.popleft())
    finally:
        ended.set()
        free.put(None)
        for thread in pool:
            thread.join()


def side_by_side(
    tasks: Iterable[Work], work: Callable[[Work], Iterable[Item]], threads: int, held: int
) -> Generator[Item]:
    """Yields what each task gives, in the order of the tasks, while `threads` of them are worked on.

    A task that is not yet asked for waits once `held` of its items do. An exception in a thread is raised here in its
    turn. Closing the iterator ends the threads before it returns.
    """
    stopped = threading.Event()

    def put(into: Queue[tuple[Item] | BaseException | None], item: tuple[Item] | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                into.put(item, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def run(task: Work, into: Queue[tuple[Item] | BaseException | None]) -> None:
        try:
            for item in work(task):
                if not put(into, (item,)):
                    return
            put(into, None)
        except BaseException as error:
            put(into, error)

    left = iter(tasks)
    waiting: deque[Queue[tuple[Item] | BaseException | None]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="nightmill-read") as pool:

        def begin(many: int) -> None:
            for task in islice(left, many):
                waiting.append(Queue(held))
                pool.submit(run, task, waiting[-1])

        try:
            begin(threads + 1)
            while waiting:
                found = waiting[0].get()
                if isinstance(found, tuple):
                    yield found[0]
                    continue
                if found is not None:
                    raise found
                waiting.popleft()
                begin(1)
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
