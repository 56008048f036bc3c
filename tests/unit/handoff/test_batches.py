from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from deltalake import DeltaTable, write_deltalake

from nightmill.errors import ConfigError, DataRefused
from nightmill.handoff import Batch, Batches, Cache, Plan, Side, Window, build_index, matrix, pin, select_samples
from nightmill.handoff import batches as handoff

from .conftest import EVERY, STEP, series, table_of


def batches_of(
    uri, window, batch=4, *, rank=0, world=1, seed=0, shuffle=False, future=True, last_only=False, **options
):
    pinned = pin(uri)
    index = build_index(pinned, EVERY)
    plan = Plan(
        select_samples(index, window, with_future=future, last_only=last_only), batch, seed, world, shuffle=shuffle
    )
    return Batches(pinned, index, plan, rank, **{"features": ["x", "x2"], **options})


def collected(batches: Batches, epoch: int = 0, start: int = 0) -> list[Batch]:
    """Batches as lists that stay when the buffers are reused."""
    return [batch.map(torch.Tensor.clone) for batch in batches.epoch(epoch, start)]


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [*batch[:-1], *batch.more.values()]


def equal(left: list[Batch], right: list[Batch]) -> bool:
    pairs = zip([t for b in left for t in tensors(b)], [t for b in right for t in tensors(b)], strict=True)
    return all(torch.equal(torch.nan_to_num(a, nan=-9e9), torch.nan_to_num(b, nan=-9e9)) for a, b in pairs)


def real(batches: list[Batch]) -> Batch:
    """All samples of some batches, without padding."""
    more = {name: torch.cat([batch.more[name] for batch in batches]) for name in batches[0].more}
    whole = Batch(*(torch.cat(items) for items in zip(*(batch[:-1] for batch in batches), strict=True)), more)
    return whole.map(lambda item: item[whole.weight > 0])


def test_a_batch_holds_windows_targets_entities_times_ages_and_weights(gold):
    uri = gold(series("a", range(4)) + series("b", range(3), base=100))
    first, second = collected(batches_of(uri, Window(2, 1), batch=2))
    assert first.x.tolist() == [[[0, 0], [1, 10]], [[1, 10], [2, 20]]]
    assert first.y.tolist() == [[-2], [-3]]
    assert first.entity.tolist() == [0, 0]
    assert first.ts.tolist() == [STEP, 2 * STEP]
    assert first.age.tolist() == [2, 3]
    assert first.weight.tolist() == [1, 1]
    assert (second.x[0].tolist(), second.y[0].tolist(), second.entity[0].item()) == (
        [[100, 1000], [101, 1010]],
        [-102],
        1,
    )


def test_the_last_batch_is_padded_with_weight_0(gold):
    (batch,) = collected(batches_of(gold(series("a", range(3))), Window(2, 0), batch=4))
    assert batch.weight.tolist() == [1, 1, 0, 0]
    assert batch.x[2:].tolist() == [[[0, 0], [0, 0]]] * 2
    assert batch.y[2:].isnan().all()
    assert (batch.entity[2:].tolist(), batch.ts[2:].tolist(), batch.age[2:].tolist()) == ([0, 0], [0, 0], [0, 0])


def test_horizon_0_is_the_target_of_the_origin_itself(gold):
    (batch,) = collected(batches_of(gold(series("a", range(4))), Window(3, 0), batch=2))
    assert batch.y.tolist() == [[-2], [-3]]


def test_several_steps_ahead(gold):
    (batch,) = collected(batches_of(gold(series("a", range(6))), Window(2, 3), batch=2))
    assert batch.y.tolist() == [[-2, -3, -4], [-3, -4, -5]]


def test_windows_never_cross_a_gap_or_an_entity(gold):
    rows = series("a", range(0, 5)) + series("a", range(7, 10)) + series("b", range(0, 4), base=50)
    all_ = real(collected(batches_of(gold(rows), Window(3, 1), shuffle=True)))
    steps = all_.x[:, :, 0].diff(dim=1)
    assert (steps == 1).all() and (all_.y[:, 0] == -(all_.x[:, -1, 0] + 1)).all()
    assert sorted(all_.x[:, -1, 0].tolist()) == [2, 3, 52]


def test_an_entity_in_many_files_and_row_groups_is_one_history(gold):
    days = [series("a", range(d * 4, d * 4 + 4)) + series("b", range(d * 4, d * 4 + 4), base=100) for d in range(5)]
    whole = real(collected(batches_of(gold(*days, rows_per_group=3), Window(6, 2), shuffle=True, batch=5)))
    assert len(whole.x) == 2 * (20 - 7)
    assert (whole.x[:, :, 0].diff(dim=1) == 1).all()
    assert whole.x[:, :, 1].equal(10 * whole.x[:, :, 0])
    assert whole.y.equal(-(whole.x[:, -1:, 0] + torch.tensor([1.0, 2.0])))
    assert (whole.ts // STEP + 100 * whole.entity).equal(whole.x[:, -1, 0].long())


def test_short_histories_are_padded_on_the_left_with_their_first_row(gold):
    uri = gold(series("a", range(5, 7)) + series("b", range(1, 2)))
    (batch,) = collected(batches_of(uri, Window(3, 0, pad=True), batch=3))
    assert batch.x[:, :, 0].tolist() == [[5, 5, 5], [5, 5, 6], [1, 1, 1]]
    assert batch.y.tolist() == [[-5], [-6], [-1]]
    assert batch.age.tolist() == [1, 2, 1]


def test_unknown_targets_and_missing_values_are_nan(gold):
    rows = [("a", 0, 1.0, 5.0), ("a", 1, None, None), ("a", 2, float("nan"), float("nan"))]
    (batch,) = collected(batches_of(gold(rows), Window(1, 0), batch=3))
    assert batch.x[:, 0, 0].isnan().tolist() == batch.y[:, 0].isnan().tolist() == [False, True, True]


def test_scoring_reads_the_last_window_without_a_future(gold):
    uri = gold(series("a", range(4)) + series("b", range(3), base=100))
    options = {"future": False, "last_only": True, "batch": 2}
    (batch,) = collected(batches_of(uri, Window(2, 3), target=None, **options))
    assert batch.x[:, :, 0].tolist() == [[2, 3], [101, 102]]
    assert batch.y.isnan().all() and batch.y.shape == (2, 3)
    (known,) = collected(batches_of(uri, Window(2, 3), **options))
    assert known.y.isnan().all()


def test_a_future_that_exists_in_part_is_given_in_part(gold):
    (batch,) = collected(batches_of(gold(series("a", range(4))), Window(2, 2), batch=3, future=False))
    assert torch.nan_to_num(batch.y, nan=9).tolist() == [[-2, -3], [-3, 9], [9, 9]]


def test_all_ranks_together_give_the_batches_of_one(gold):
    uri = gold(
        *[series("a", range(d * 50, d * 50 + 50)) + series("b", range(d * 50, d * 50 + 50), 999) for d in range(3)]
    )
    window, alone = Window(4, 2), collected(batches_of(uri, Window(4, 2), batch=32, shuffle=True), epoch=1)
    ranks = [collected(batches_of(uri, window, 32, rank=r, world=3, shuffle=True), epoch=1) for r in range(3)]
    for number, batch in enumerate(alone):
        union = real([steps[number] for steps in ranks])
        key = union.ts + union.entity
        mine = real([batch])
        assert union.x[key.argsort()].equal(mine.x[(mine.ts + mine.entity).argsort()])


def test_an_epoch_resumes_at_a_step_with_exactly_the_remaining_batches(gold):
    batches = batches_of(gold(series("a", range(60))), Window(3, 1), batch=7, shuffle=True)
    whole = collected(batches, epoch=2)
    assert len(whole) == 9
    for start in (0, 4, 8, 9):
        assert equal(collected(batches, 2, start), whole[start:])


def test_a_state_in_mid_epoch_is_taken_up_by_another_number_of_ranks(gold):
    uri = gold(*[series("a", range(d * 30, d * 30 + 30)) for d in range(3)])
    options = {"batch": 8, "shuffle": True}
    alone = batches_of(uri, Window(3, 1), **options)
    whole, states = [], []
    for batch in alone.epoch(1):
        whole.append(batch.map(torch.Tensor.clone))
        states.append(alone.state_dict())
    ranks = [batches_of(uri, Window(3, 1), rank=rank, world=3, **options) for rank in range(3)]
    left = [[batch.map(torch.Tensor.clone) for batch in rank.resume(states[4])] for rank in ranks]
    assert [len(batches) for batches in left] == [len(whole) - 5] * 3
    for number, expected in enumerate(whole[5:]):
        assert real([batches[number] for batches in left]).ts.equal(real([expected]).ts)
    with pytest.raises(ConfigError, match="another plan"):
        batches_of(uri, Window(3, 1), seed=1, **options).resume(states[4])
    with pytest.raises(ConfigError, match="no state of batches"):
        alone.resume({"epoch": 1})
    write_deltalake(uri, DeltaTable(uri).to_pyarrow_table().sort_by("ts"), mode="overwrite")
    with pytest.raises(ConfigError, match="another table"):
        batches_of(uri, Window(3, 1), **options).resume(states[4])


def test_a_state_is_that_of_the_iterator_that_began_last(gold):
    batches = batches_of(gold(series("a", range(60))), Window(3, 1), batch=7, shuffle=True)
    first = batches.epoch(0)
    next(first)
    second = batches.resume(batches.state_dict() | {"epoch": 1, "step": 3})
    assert (batches.state_dict()["epoch"], batches.state_dict()["step"]) == (1, 3)
    next(second)
    next(first)
    assert (batches.state_dict()["epoch"], batches.state_dict()["step"]) == (1, 4)
    with pytest.raises(ValueError, match="has 9 steps"):
        batches.epoch(0, 10)


def test_each_rank_keeps_about_its_share_of_rows(gold):
    uri = gold(*[series(f"e{e:02}", range(2000)) for e in range(8)])
    ranks = [batches_of(uri, Window(2, 0), 64, rank=r, world=4, shuffle=True) for r in range(4)]
    assert all(rank.rows_kept <= 16_000 / 4 * 1.05 for rank in ranks)
    assert sum(rank.rows_kept for rank in ranks) >= 16_000


def test_each_rank_decodes_only_the_row_groups_that_it_needs(gold):
    uri = gold(*[series(f"e{e:02}", range(200)) for e in range(16)], rows_per_group=5)
    ranks = [batches_of(uri, Window(2, 0), 64, rank=r, world=8, shuffle=True).rows_read for r in range(8)]
    assert max(ranks) <= 3200 / 2


@pytest.mark.parametrize("at_once", [1, 100, handoff.AT_ONCE])
def test_a_batch_stays_valid_until_prefetch_further_ones_are_taken(gold, monkeypatch, at_once):
    monkeypatch.setattr(handoff, "AT_ONCE", at_once)
    uri = gold(series("a", range(200)))
    for prefetch in (1, 3):
        batches = batches_of(uri, Window(1, 0), batch=2, prefetch=prefetch)
        held: list[tuple[int, Batch]] = []
        for step, batch in enumerate(batches.epoch(0)):
            held = [*held, (step, batch)][-prefetch:]
            assert [b.y[0].item() for _, b in held] == [-2.0 * s for s, _ in held]


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_the_same_however_many_are_gathered_at_once(gold, monkeypatch, shuffle):
    uri, found = gold(*[series(f"e{e}", range(23 + e), base=100 * e) for e in range(5)], rows_per_group=7), []
    side = Side(pin(uri), build_index(pin(uri), EVERY), ["x2"], lookback=2, ahead=1)
    for at_once in (1, 300, 1000, handoff.AT_ONCE):
        monkeypatch.setattr(handoff, "AT_ONCE", at_once)
        for rank in range(3):
            options = {"rank": rank, "world": 3, "shuffle": shuffle, "weight": "x", "sides": {"other": side}}
            batches = batches_of(uri, Window(3, 2), 7, **options)
            whole = collected(batches, 1)
            assert len(whole) == batches.steps and equal(whole[4:], collected(batches, 1, 4))
            found.append(whole)
    assert all(equal(left, right) for left, right in zip(found, found[3:]))


def test_stopping_early_leaves_no_thread(gold, monkeypatch):
    monkeypatch.setattr(handoff, "AT_ONCE", 1)
    batches = batches_of(gold(series("a", range(100))), Window(1, 0), batch=2)
    before = set(threading.enumerate())
    iterator = batches.epoch(0)
    next(iterator)
    assert {t.name for t in set(threading.enumerate()) - before} == {"nightmill-prefetch"}
    iterator.close()
    assert set(threading.enumerate()) == before
    for _ in batches.epoch(0):
        break
    assert set(threading.enumerate()) == before


def test_two_epochs_at_once_do_not_share_buffers(gold):
    batches = batches_of(gold(series("a", range(100))), Window(1, 0), batch=2)
    one, two = batches.epoch(0), batches.epoch(0)
    pairs = [(a.y.tolist(), b.y.tolist()) for a, b in zip(one, two, strict=True)]
    assert len(pairs) == 50 and all(a == b for a, b in pairs)


def test_the_number_of_torch_threads_is_the_callers(gold):
    batches, before = batches_of(gold(series("a", range(20))), Window(1, 0)), torch.get_num_threads()
    seen: list[int] = []
    for _ in batches.epoch(0):
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        seen.append(torch.get_num_threads())
    assert set(seen) == {before}


def test_infinite_values_are_refused_naming_feature_count_and_entity(gold):
    rows = series("a", range(3)) + [("b", 0, float("inf"), 0.0), ("b", 1, 1.0, 0.0), ("b", 2, -float("inf"), 0.0)]
    with pytest.raises(DataRefused, match="'x' is infinite in 2 rows that were read, as of entity 'b'"):
        batches_of(gold(rows), Window(1, 0))


def test_an_infinite_target_is_refused(gold):
    with pytest.raises(DataRefused, match="'target' is infinite in 1 rows that were read, as of entity 'a'"):
        batches_of(gold([("a", 0, 0.0, float("inf"))]), Window(1, 0))


def test_an_unknown_feature_is_refused_naming_it(gold):
    with pytest.raises(DataRefused, match="no column 'speed'") as refused:
        batches_of(gold(series("a", range(3))), Window(1, 0), features=["speed"])
    assert "x2" in refused.value.fix


def test_a_feature_that_is_no_number_is_refused(gold):
    with pytest.raises(DataRefused, match="'entity' is string"):
        batches_of(gold(series("a", range(3))), Window(1, 0), features=["entity"])


def test_other_number_types_are_read_as_float32(tmp_path):
    table = table_of(series("a", range(3)))
    for name, kind in (("x", pa.int64()), ("x2", pa.float64())):
        table = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(kind))
    write_deltalake(str(tmp_path / "gold"), table)
    (batch,) = collected(batches_of(str(tmp_path / "gold"), Window(1, 0)))
    assert batch.x[:3, 0].tolist() == [[0, 0], [1, 10], [2, 20]]


def test_what_float32_cannot_hold_is_infinite(tmp_path):
    uri = columned(tmp_path, big=pa.array([1.0] * 39 + [1e300]))
    with pytest.raises(DataRefused, match="'big' is infinite in 1 rows that were read, as of entity 'a'"):
        batches_of(uri, Window(1, 0), features=["x", "big"])


def test_a_struct_with_a_part_of_the_same_name_hides_no_infinite_value(gold, tmp_path):
    values = [float("inf"), *[1.0] * 39]
    uri = columned(tmp_path, w=pa.array(values), s=pa.array([{"w": 1.0}] * 40))
    with pytest.raises(DataRefused, match="'w' is infinite"):
        batches_of(uri, Window(1, 0), features=["w"])


def test_a_file_that_was_replaced_is_refused(gold):
    uri = gold(series("a", range(20)))
    pinned = pin(uri)
    index = build_index(pinned, EVERY)
    place = Path(uri, pinned.files[0].path)
    pq.write_table(pq.read_table(place).slice(0, 5), place)
    with pytest.raises(DataRefused, match="bytes and 5 rows; the table says .* and 20 rows"):
        Batches(pinned, index, Plan(select_samples(index, Window(1, 0)), 4, 0), features=["x"])


def test_damaged_pages_are_refused_naming_the_file(gold):
    uri = gold(series("a", range(2000)))
    pinned = pin(uri)
    index = build_index(pinned, EVERY)
    path = Path(uri, pinned.files[0].path)
    raw = bytearray(path.read_bytes())
    raw[4:-2000] = bytes(len(raw) - 2004)
    path.write_bytes(raw)
    with pytest.raises(DataRefused, match="cannot be read") as refused:
        Batches(pinned, index, Plan(select_samples(index, Window(1, 0)), 8, 0), features=["x"])
    assert path.name in refused.value.where


def test_an_overwrite_after_pinning_changes_nothing_and_a_vacuum_is_named(gold):
    uri = gold(series("a", range(50)))
    pinned = pin(uri)
    index = build_index(pinned, EVERY)
    plan = Plan(select_samples(index, Window(1, 0)), 8, 0)
    before = collected(Batches(pinned, index, plan, features=["x"]))
    write_deltalake(uri, table_of(series("z", range(9))), mode="overwrite")
    batches = Batches(pinned, index, plan, features=["x"])
    assert equal(collected(batches), before)
    DeltaTable(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert equal(collected(batches), before)  # what was read stays
    with pytest.raises(DataRefused, match="gone"):
        Batches(pinned, index, plan, features=["x"])


def test_an_object_store_gives_the_same_batches_as_a_path(gold):
    uri = gold(series("a", range(50)), series("b", range(50)))
    left, right = (batches_of(place, Window(3, 1), shuffle=True) for place in (uri, f"file://{uri}"))
    assert equal(collected(left), collected(right))


def test_no_sample_gives_no_batch(gold):
    assert collected(batches_of(gold(series("a", range(3))), Window(9, 0))) == []


def test_a_rank_without_samples_takes_as_many_steps_as_the_others(gold):
    uri = gold(series("a", range(5)))
    steps = [collected(batches_of(uri, Window(1, 0), 2, rank=r, world=7, shuffle=True)) for r in range(7)]
    assert {len(batches) for batches in steps} == {3}
    assert sum(batch.weight.sum().item() for batches in steps for batch in batches) == 5


def test_random_access_equals_a_plain_reading(gold):
    rng = np.random.default_rng(0)
    rows = [(f"e{e}", s, float(rng.integers(1000)), float(rng.integers(1000))) for e in range(5) for s in range(300)]
    whole = real(collected(batches_of(gold(rows, rows_per_group=128), Window(7, 3), 64, shuffle=True)))
    x, y = (np.array([row[k] for row in rows]).reshape(5, 300) for k in (2, 3))
    for sample in range(len(whole.x)):
        e, s = int(whole.entity[sample]), int(whole.ts[sample]) // STEP
        assert whole.x[sample, :, 0].tolist() == x[e, s - 6 : s + 1].tolist()
        assert whole.y[sample].tolist() == y[e, s + 1 : s + 4].tolist()


def columned(tmp_path: Path, **columns) -> str:
    """A gold table of 40 rows of entity a with further columns."""
    table = table_of(series("a", range(40)))
    for name, values in columns.items():
        table = table.append_column(name, values)
    write_deltalake(str(tmp_path / "gold"), table)
    return str(tmp_path / "gold")


def test_only_weights_of_origins_are_judged(tmp_path):
    weights = [None, -1.0, *(float(n) for n in range(2, 39)), None]  # windows of 3 + 1 begin no sooner and end before
    uri = columned(tmp_path, w=pa.array(weights))
    batches = collected(batches_of(uri, Window(3, 1), batch=25, weight="w"))
    assert batches[0].weight.tolist() == [float(n) for n in range(2, 27)]
    weights[20] = None
    with pytest.raises(DataRefused, match="1 weights in column 'w' are negative or missing, as of entity 'a'"):
        batches_of(columned(tmp_path / "other", w=pa.array(weights)), Window(3, 1), batch=25, weight="w")


def test_samples_carry_the_weight_of_their_origin_and_padding_none(tmp_path):
    uri = columned(tmp_path, w=pa.array(np.arange(40, dtype=np.float32)))
    batches = collected(batches_of(uri, Window(3, 1), batch=25, weight="w"))
    assert batches[0].weight.tolist() == [float(n) for n in range(2, 27)]
    assert batches[1].weight.tolist() == [float(n) for n in range(27, 39)] + [0.0] * 13


@pytest.mark.parametrize("bad", [-1.0, None, float("nan")])
def test_weights_that_are_none_are_refused(tmp_path, bad):
    uri = columned(tmp_path, w=pa.array([1.0] * 39 + [bad]))
    with pytest.raises(DataRefused, match="1 weights in column 'w' are negative or missing, as of entity 'a'"):
        batches_of(uri, Window(1, 0), weight="w")


def test_categories_and_arrays_are_those_of_the_origin(tmp_path):
    kinds = pa.array(["red", "green", None, "new"] * 10)
    images = pa.array([bytes([n, n + 1]) for n in range(40)], pa.binary())
    waves = pa.array([[n / 2, -n / 2, 0] for n in range(40)], pa.list_(pa.float32()))
    uri = columned(tmp_path, kind=kinds, image=images, wave=waves)
    options = {"codes": {"kind": ["green", "red"]}, "arrays": ["image", "wave"]}
    for shuffle in (False, True):
        batch = real(collected(batches_of(uri, Window(2, 0), batch=8, shuffle=shuffle, **options)))
        origin = batch.x[:, -1, 0].long()
        assert batch.codes[:, 0].tolist() == [[2, 1, 0, 0][n % 4] for n in origin.tolist()]
        assert batch.more["image"].dtype == torch.uint8 and batch.more["wave"].dtype == torch.float32
        assert batch.more["image"].tolist() == [[n, n + 1] for n in origin.tolist()]
        assert batch.more["wave"].tolist() == [[n / 2, -n / 2, 0] for n in origin.tolist()]


def test_arrays_may_have_any_name_and_hide_nothing(tmp_path):
    named = {name: pa.array([[n, n + 1] for n in range(40)], pa.list_(pa.int16())) for name in ("y", "weight", "codes")}
    uri = columned(tmp_path, **named)
    plain, batch = (
        real(collected(batches_of(uri, Window(1, 0), batch=8, arrays=arrays))) for arrays in ((), (*named,))
    )
    assert batch.x.equal(plain.x) and batch.y.equal(plain.y) and batch.weight.equal(plain.weight)
    assert all(batch.more[name].tolist() == [[n, n + 1] for n in range(40)] for name in named)


def test_what_is_known_is_told_apart_from_what_is_missing(gold):
    (batch,) = batches_of(gold([("a", 0, 1.0, 5.0), ("a", 1, None, 0.0)]), Window(1, 0), batch=2).epoch(0)
    assert batch.known.tolist() == [[[True, True]], [[False, False]]]


def test_rows_beyond_the_memory_budget_come_from_the_cache_and_are_the_same(gold, tmp_path):
    uri = gold(*[series("a", range(d * 100, d * 100 + 100)) for d in range(3)], rows_per_group=64)
    plain, options = Window(5, 2), {"batch": 16, "shuffle": True}
    cache = Cache(str(tmp_path / "cache"), 2**30)
    alone = batches_of(uri, plain, **options)
    cached = batches_of(uri, plain, memory=100, cache=cache, **options)
    again = batches_of(uri, plain, memory=100, cache=cache, **options)
    roomy = batches_of(uri, plain, memory=2**20, cache=cache, **options)
    assert (cached.rows_read, again.rows_read, roomy.rows_read) == (300, 0, 300)
    for epoch in (0, 1):
        expected = collected(alone, epoch)
        assert all(equal(collected(other, epoch), expected) for other in (cached, again, roomy))
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == 1


def test_the_cache_tells_features_splits_and_versions_apart(gold, tmp_path):
    uri = gold(series("a", range(50)))
    cache = Cache(str(tmp_path / "cache"), 2**30)

    def first(**options) -> list[Batch]:
        return collected(batches_of(uri, Window(2, 0), batch=8, memory=1, cache=cache, **options))

    for options in ({}, {"features": ["x2"]}, {"target": None}, {"world": 2}, {"world": 2, "rank": 1}):
        assert equal(first(**options), collected(batches_of(uri, Window(2, 0), batch=8, **options)))
    gold(series("a", range(50, 60)))
    assert equal(first(), collected(batches_of(uri, Window(2, 0), batch=8)))
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == 6


def test_threads_are_bounded_and_change_no_batch(gold, monkeypatch):
    uri = gold(series("a", range(40)), series("b", range(40), base=100))
    wanted = collected(batches_of(uri, Window(3, 1)))
    seen, real_pool = list[int](), matrix.ThreadPoolExecutor
    monkeypatch.setattr(
        matrix, "ThreadPoolExecutor", lambda many, **named: seen.append(many) or real_pool(many, **named)
    )
    monkeypatch.setattr(handoff, "AT_ONCE", 1)
    one = batches_of(uri, Window(3, 1), threads=1)
    found, running = list[Batch](), 0
    for batch in one.epoch(0):
        names = [thread.name for thread in threading.enumerate()]
        running = max(running, sum("nightmill" in name or "ThreadPool" in name for name in names))
        found.append(batch.map(torch.Tensor.clone))
    assert equal(found, wanted) and seen == [1] and running == 1
