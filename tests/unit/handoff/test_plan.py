from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightmill.errors import ConfigError
from nightmill.handoff import Plan, Samples, Window, select_samples

from .conftest import make_index, unhurried

WORLDS = (1, 2, 4, 7)


def samples_of(lengths: list[int], lookback: int = 1, horizon: int = 0) -> Samples:
    index = make_index(*[(f"e{i:03}", 0, n) for i, n in enumerate(lengths)])
    return select_samples(index, Window(lookback, horizon))


def global_batches(plan: Plan, epoch: int, start: int = 0) -> list[list[int]]:
    """The samples of each step over all ranks, in their order; checks what must hold for each rank's step."""
    batches = None
    for rank in range(plan.world):
        mine = []
        for step in plan.rank(rank, epoch, start):
            assert len(step.samples) == len(step.weight) == plan.size_of(rank)
            real = step.weight == 1
            assert ((step.samples >= 0) == real).all() and set(np.unique(step.weight)) <= {0, 1}
            assert (np.diff(real.astype(int)) <= 0).all()  # padding stands at the end
            mine.append(step.samples[real].tolist())
        batches = mine if batches is None else [a + b for a, b in zip(batches, mine, strict=True)]
    return batches or []


tables = st.tuples(
    st.lists(st.integers(0, 60).map(lambda n: n + 1), min_size=1, max_size=12),  # rows of each run
    st.integers(1, 5),  # lookback
    st.integers(0, 3),  # horizon
)


@unhurried
@given(
    tables, st.integers(1, 200), st.integers(0, 5), st.integers(0, 3), st.sampled_from([64, 64, 16, 7]),
    st.sampled_from([1, 100, 2**19]),
)  # fmt: skip
def test_every_sample_once_equal_steps_and_the_same_order_for_every_world(table, batch, seed, epoch, lanes, mixed):
    samples = samples_of(*table)
    expected, count = None, samples.count
    for world in WORLDS:
        plan = Plan(samples, batch, seed, world, lanes=lanes, mixed=mixed)
        batches = global_batches(plan, epoch)
        assert len(batches) == plan.steps == -(-count // batch)
        assert sorted(chain.from_iterable(batches)) == list(range(count))
        assert [len(b) for b in batches] == [min(batch, count - s * batch) for s in range(plan.steps)]
        assert expected is None or batches == expected
        expected = batches


@unhurried
@given(tables, st.integers(1, 90), st.integers(0, 3), st.sampled_from(WORLDS), st.data())
def test_an_epoch_resumes_at_any_step_with_any_world(table, batch, seed, world, data):
    samples = samples_of(*table)
    whole = global_batches(Plan(samples, batch, seed), 1)
    start = data.draw(st.integers(0, len(whole)))
    assert global_batches(Plan(samples, batch, seed, world), 1, start) == whole[start:]


@unhurried
@given(tables, st.integers(1, 90), st.sampled_from(WORLDS))
def test_a_rank_keeps_its_samples_over_all_epochs(table, batch, world):
    plan = Plan(samples_of(*table), batch, 3, world)
    for rank in range(world):
        held = list(range(*plan.range_of(rank)))
        for epoch in (0, 1):
            steps = [step.samples[step.weight > 0] for step in plan.rank(rank, epoch)]
            assert sorted(np.concatenate([*steps, np.zeros(0, int)])) == held


def test_a_local_batch_is_never_larger_than_needed():
    samples = samples_of([1000])
    assert [Plan(samples, 256, 0, 4).size_of(rank) for rank in range(4)] == [64, 64, 64, 64]
    assert [Plan(samples, 100, 0, 1).size_of(0)] == [100]
    sizes = [Plan(samples, 100, 0, 7).size_of(rank) for rank in range(7)]
    assert 100 <= sum(sizes) <= 107 + 7


def test_epochs_and_seeds_give_other_orders_and_the_same_seed_the_same():
    samples = samples_of([500])

    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate([step.samples for step in Plan(samples, 100, seed).rank(0, epoch)]).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1) != order(2, 1)
    assert order(-1, 0) != order(1, 0)


def test_a_batch_mixes_samples_from_everywhere():
    batches = global_batches(Plan(samples_of([64_000]), 640, 0), 0)
    spread = [np.histogram(batch, bins=8, range=(0, 64_000))[0].min() for batch in batches]
    assert min(spread) > 20  # 80 of each eighth on average


def test_a_large_table_is_mixed_block_by_block():
    samples = samples_of([100_000])
    plan = Plan(samples, 1000, 0, lanes=4, mixed=4 * 1024)
    order = np.concatenate([step.samples for step in plan.rank(0, 0)])
    assert sorted(order[order >= 0].tolist()) == list(range(100_000))
    lane = order[order < plan._edges[1]]
    blocks = lane // 128
    assert len(np.unique(blocks[:1024])) <= 9, "at any time a few blocks of a lane are at work"
    assert np.abs(np.diff(blocks[::1024])).mean() > 20, "and they lie all over it"
    assert not np.array_equal(lane, np.sort(lane))


def test_neighbouring_ranks_read_about_the_same_number_of_rows():
    plan = Plan(samples_of([5000, 1, 3, 20_000, 17]), 256, 0, 4)
    held = [stop - first for first, stop in (plan.range_of(rank) for rank in range(4))]
    assert max(held) - min(held) <= 16  # a sample per lane


def test_without_shuffle_samples_come_in_logical_order():
    plan = Plan(samples_of([10, 15]), 8, seed=5, shuffle=False)
    assert [step.samples.tolist() for step in plan.rank(0, 3)][:2] == [[*range(8)], [*range(8, 16)]]
    assert [step.samples.tolist() for step in plan.rank(0, 3)][-1] == [24, -1, -1, -1, -1, -1, -1, -1]


def test_without_shuffle_each_rank_reads_one_stretch():
    samples = samples_of([100])
    for world in WORLDS:
        plan = Plan(samples, 8, 0, world, shuffle=False)
        ranges = [plan.range_of(rank) for rank in range(world)]
        assert [first for first, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])] and ranges[-1][1] == 100
        assert sorted(chain.from_iterable(global_batches(plan, 0))) == list(range(100))


def test_the_hash_knows_samples_batch_and_seed_but_not_the_world():
    samples, other = samples_of([50, 50]), samples_of([50, 51])
    plan = Plan(samples, 8, 0)
    assert plan.hash == Plan(samples, 8, 0, world=4).hash
    changed = [Plan(other, 8, 0), Plan(samples, 9, 0), Plan(samples, 8, 1), Plan(samples, 8, 0, shuffle=False)]
    changed += [Plan(samples, 8, 0, lanes=32), Plan(samples, 8, 0, mixed=2**20)]
    assert len({plan.hash, *(item.hash for item in changed)}) == 7


def test_more_workers_than_lanes_are_refused():
    with pytest.raises(ConfigError, match="65 workers"):
        Plan(samples_of([100]), 8, 0, world=65)


def test_no_sample_gives_no_step():
    plan = Plan(samples_of([3], lookback=4), 8, 0, world=2)
    assert (plan.count, plan.steps, list(plan.rank(1, 0))) == (0, 0, [])
