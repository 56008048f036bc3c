from __future__ import annotations

import threading
import time

import pytest

from nightmill.handoff.prefetch import prefetched


def fill(item: int, slot: list[int]) -> None:
    if item == 13:
        raise ZeroDivisionError("unlucky")
    slot[:] = [item]


def test_items_come_in_order_in_reused_slots():
    slots: list[list[int]] = [[], []]
    taken = [(slot[0], id(slot)) for slot in prefetched(range(10), slots, fill, held=1)]
    assert [item for item, _ in taken] == list(range(10))
    assert {where for _, where in taken} == {id(slot) for slot in slots}


def test_an_exception_in_the_thread_reaches_the_consumer_after_what_was_ready():
    seen = []
    with pytest.raises(ZeroDivisionError):
        for slot in prefetched([1, 2, 13, 4], [[], [], [], []], fill, held=2):
            seen += slot
    assert seen == [1, 2]


def test_an_exception_in_the_work_reaches_the_consumer():
    with pytest.raises(ZeroDivisionError):
        list(prefetched((1 // n for n in (1, 0)), [[], []], fill, held=1))


def test_closing_ends_the_thread_though_work_and_slots_are_left():
    before, made = threading.active_count(), []

    def work():
        for number in range(1000):
            made.append(number)
            yield number

    iterator = prefetched(work(), [[], [], [], []], fill, held=2)
    next(iterator)
    iterator.close()
    assert threading.active_count() == before
    assert len(made) <= 6
    time.sleep(0.02)
    assert len(made) <= 6


def test_no_thread_begins_before_the_first_item_is_asked_for():
    before = threading.active_count()
    prefetched(range(3), [[]], fill, held=1)
    assert threading.active_count() == before
