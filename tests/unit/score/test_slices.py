"""Slices hold every sample once, in few pieces, of equal size and within memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightmill.handoff import Index, Runs, Samples, Segments, Window, select_samples
from nightmill.score import slices
from nightmill.score.slices import cut_slices

STEP = 300_000_000


def index_of(*lengths: int) -> Index:
    """One run per entity, all in one file, as they come."""
    length = np.array(lengths, np.int64)
    first, zero = np.cumsum(length) - length, np.zeros(len(length), np.int64)
    runs = Runs(np.arange(len(length)), first, length, zero)
    segments = Segments(first, length, zero, zero, first)
    return Index([f"e{n:05}" for n in range(len(length))], runs, segments, STEP, int(length.sum()), "gold version 0")


def origins(samples: Samples) -> list[tuple[int, int]]:
    """(run, logical row) of each sample, in order."""
    stretches = zip(samples.run, samples.first, samples.last)
    return [(int(run), row) for run, first, last in stretches for row in range(first, last + 1)]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    lookback=st.integers(1, 5),
    slots=st.integers(1, 8),
    least=st.integers(1, 50),
    memory=st.integers(1, 4000),
)
def test_every_sample_is_in_one_slice_and_in_its_order(lengths, lookback, slots, least, memory):
    index = index_of(*lengths)
    samples = select_samples(index, Window(lookback, 1), with_future=False)
    if not samples.count:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "LEAST", least)
        patch.setattr(slices, "MEMORY", memory)
        found = cut_slices(samples, index, 8, slots)
    assert [origin for one in found for origin in origins(one)] == origins(samples)
    assert all(one.count for one in found)


def test_a_slice_ends_where_an_entity_does_unless_that_is_far():
    index = index_of(*[288] * 1000)
    samples = select_samples(index, Window(12, 12), with_future=False)
    found = cut_slices(samples, index, 4, 2)
    assert len(found) == 6 and all(one.count % 277 == 0 for one in found)
    assert max(one.count for one in found) - min(one.count for one in found) <= 277
    (long,) = (index_of(400_000),)
    assert len(cut_slices(select_samples(long, Window(1, 1), with_future=False), long, 4, 2)) == 6


def test_few_samples_are_one_slice_and_many_keep_within_memory():
    few = index_of(*[288] * 20)
    assert len(cut_slices(select_samples(few, Window(12, 12), with_future=False), few, 4, 64)) == 1
    # the last window of each of 10,000 entities holds 336 rows of 17 values
    many = index_of(*[336] * 10_000)
    found = cut_slices(select_samples(many, Window(336, 24), with_future=False), many, 4 * 17, 1)
    assert max(one.count * 336 * 4 * 17 for one in found) <= slices.MEMORY


def test_single_rows_are_cut_as_they_lie_in_the_files():
    length = np.array([50, 50, 50, 50], np.int64)
    # two entities whose rows lie half in one file and half in another
    runs = Runs(np.arange(2), np.array([0, 100]), np.array([100, 100]), np.zeros(2, np.int64))
    segments = Segments(np.array([0, 50, 100, 150]), length, np.array([0, 1, 0, 1]), np.zeros(4, np.int64),
                        np.array([0, 0, 50, 50]))  # fmt: skip
    index = Index(["a", "b"], runs, segments, STEP, 200, "gold version 0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "LEAST", 100)
        first, second = cut_slices(select_samples(index, Window(1, 0)), index, 4, 1)
    assert [list(zip(one.first.tolist(), one.last.tolist())) for one in (first, second)] == [
        [(0, 49), (100, 149)], [(50, 99), (150, 199)],
    ]  # fmt: skip
