from __future__ import annotations

import threading
import time

import pytest

from nightmill.handoff.prefetch import prefetched


def fill(item: int, slot: list[int]) -> None:
    if item < 0:
        raise ZeroDivisionError("unlucky")
    slot[:] = [item]


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_items_come_in_order_in_reused_slots(threads: int):
    slots: list[list[int]] = [[], []]

    def slowly(item: int, slot: list[int]) -> None:
        time.sleep(0.002 * (item % 3 == 0))  # so that later ones are ready first
        fill(item, slot)

    taken = [(slot[0], id(slot)) for slot in prefetched(range(30), slots, slowly, held=1, threads=threads)]
    assert [item for item, _ in taken] == list(range(30))
    assert {where for _, where in taken} == {id(slot) for slot in slots}


def test_a_slot_is_not_refilled_while_it_may_be_in_use(threads: int):
    slots: list[list[int]] = [[] for _ in range(4)]
    before: list[list[int]] = []
    for number, slot in enumerate(prefetched(range(200), slots, fill, held=2, threads=threads)):
        before = [*before[-1:], slot]
        time.sleep(0.0002)
        assert [one[0] for one in before] == [number - 1, number][-len(before) :]


def test_all_threads_have_begun_before_the_first_slot_comes(threads: int):
    begun: list[int] = []

    def begin() -> None:
        time.sleep(0.01 * len(begun))
        begun.append(threading.get_ident())

    iterator = prefetched(range(3), [[], []], fill, held=1, threads=threads, begin=begin)
    next(iterator)
    assert len(set(begun)) == threads
    iterator.close()


def test_an_exception_in_the_thread_reaches_the_consumer_after_what_was_ready(threads: int):
    seen = []
    with pytest.raises(ZeroDivisionError):
        for slot in prefetched([1, 2, -3, 4], [[], [], [], []], fill, held=2, threads=threads):
            seen += slot
    assert seen == [1, 2]


def test_an_exception_in_the_work_reaches_the_consumer(threads: int):
    with pytest.raises(ZeroDivisionError):
        list(prefetched((1 // n for n in (1, 0)), [[], []], fill, held=1, threads=threads))


def test_closing_ends_the_threads_though_work_and_slots_are_left(threads: int):
    before, made = threading.active_count(), []

    def work():
        for number in range(1000):
            made.append(number)
            yield number

    iterator = prefetched(work(), [[], [], [], []], fill, held=2, threads=threads)
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
