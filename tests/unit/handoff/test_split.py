from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import chain

import numpy as np
import pytest
from pydantic import ValidationError

from nightmill.config.usecase import ByEntity, ByFolds, ByStart, ByTime, Split
from nightmill.errors import DataRefused
from nightmill.handoff import Index, Parts, Samples, Window, build_index, pin, split_samples
from nightmill.handoff.split import CUTS

from .conftest import EVERY, STEP, make_index, series, write_gold
from .test_samples import origins


def by_time(**shares: float | timedelta | date | bool) -> Split:
    return Split(time=ByTime(**shares))


def by_folds(**options: object) -> Split:
    return Split(folds=ByFolds(**options))


def by_entity(**options: object) -> Split:
    return Split(entity=ByEntity(**options))


def names_of(index: Index, samples: Samples) -> list[str]:
    return [index.entities[code] for code in index.runs.entity[samples.run]]


def test_by_time_the_last_steps_test_and_those_before_validate():
    index = make_index(("a", 0, 20), ("b", 0, 20))
    parts = split_samples(index, Window(1, 0), by_time(validation=0.1, test=0.2), seed=0)
    assert [origins(part) for part in parts] == [
        [*range(0, 14), *range(20, 34)],
        [14, 15, 34, 35],
        [*range(16, 20), *range(36, 40)],
    ]


def test_by_time_a_part_may_be_so_long_or_begin_on_a_local_day():
    day = 288
    index = make_index(("a", 0, 6 * day))  # from 1970-01-01 UTC
    lengths = [timedelta(days=1), timedelta(days=2)]
    parts = split_samples(index, Window(1, 0), by_time(validation=lengths[0], test=lengths[1]), seed=0)
    assert [part.first.tolist() for part in parts] == [[0], [3 * day], [4 * day]]
    days = by_time(validation=date(1970, 1, 3), test=date(1970, 1, 5))
    parts = split_samples(index, Window(1, 0), days, seed=0, zone="Europe/Athens")  # two hours ahead
    assert [part.first.tolist() for part in parts] == [[0], [2 * day - 24], [4 * day - 24]]


def test_by_time_windows_may_reach_back_and_then_each_row_of_a_part_is_predicted():
    index = make_index(("a", 0, 20), ("b", 14, 6))
    split = by_time(validation=0.2, test=0.2, reach_back=True)
    parts = split_samples(index, Window(4, 1), split, seed=0)
    assert [origins(part) for part in parts] == [[*range(3, 11)], [11, 12, 13, 14], [*range(15, 19), *range(23, 25)]]
    rows = split_samples(index, Window(4, 0, pad=True), split, seed=0)
    assert [origins(part) for part in rows] == [
        [*range(12)],
        [*range(12, 16), 20, 21],
        [*range(16, 20), *range(22, 26)],
    ]


def test_by_time_targets_that_reach_into_the_next_part_are_left_out():
    index = make_index(("a", 0, 20))
    parts = split_samples(index, Window(1, 0, reach=3 * STEP), by_time(validation=0.2, test=0.2), seed=0)
    assert [origins(part) for part in parts] == [[*range(9)], [12], [*range(16, 20)]]


def test_single_rows_are_trained_on_in_the_order_in_which_they_lie(tmp_path):
    days = [series("a", range(d * 4, d * 4 + 4)) + series("b", range(d * 4, d * 4 + 4), base=100) for d in range(5)]
    gold = pin(write_gold(tmp_path, *days, rows_per_group=3))
    index = build_index(gold, EVERY)
    shares = by_time(test=0.2, validation=0.2)
    train = split_samples(index, Window(1, 0), shares, seed=0).train
    lies = np.searchsorted(index.segments.first, train.first, "right") - 1
    places = list(zip(index.segments.file[lies].tolist(), index.segments.group[lies].tolist(), strict=True))
    assert places == sorted(places) and train.count == 24
    windows = split_samples(index, Window(2, 0), shares, seed=0).train
    assert (np.diff(windows.first) > 0).all()


def test_by_time_windows_lie_inside_one_part():
    index = make_index(("a", 0, 20))
    parts = split_samples(index, Window(2, 1), by_time(validation=0.2, test=0.2), seed=0)
    assert [origins(part) for part in parts] == [[*range(1, 11)], [13, 14], [17, 18]]


def test_by_time_padding_does_not_look_into_the_part_before():
    parts = split_samples(make_index(("a", 0, 10)), Window(3, 0, pad=True), by_time(validation=0.2, test=0.2), seed=0)
    assert [part.seen_from.tolist() for part in parts] == [[0], [6], [8]]
    assert [part.seen_to.tolist() for part in parts] == [[5], [7], [9]]


def test_by_time_since_counts_shares_of_what_is_used():
    parts = split_samples(make_index(("a", 0, 30)), Window(1, 0), by_time(validation=0.1, test=0.1), 0, since=20 * STEP)
    assert [origins(part) for part in parts] == [[*range(20, 28)], [28], [29]]


@pytest.mark.parametrize(
    ("shares", "part"),
    [({"validation": 0.1, "test": 0.0}, "test"), ({"validation": 0.0, "test": 0.1}, "validation")],
)
def test_an_empty_part_is_refused_naming_it(shares, part):
    with pytest.raises(DataRefused, match=f"the {part} part has no window") as refused:
        split_samples(make_index(("a", 0, 20)), Window(1, 0), by_time(**shares), seed=0)
    assert refused.value.fix


def test_shares_that_leave_nothing_to_train_on_are_no_configuration():
    with pytest.raises(ValueError, match="nothing to train on"):
        by_time(validation=0.5, test=0.5)


FLEET = make_index(*[(f"{part}/{unit:02}", 0, 30 + unit) for part in ("test", "train") for unit in range(40)])


def fleet_parts(seed: int = 0, index: Index = FLEET, **options: object) -> Parts:
    return split_samples(index, Window(10, 0), by_entity(**{"validation": 0.2, "test": "test/*", **options}), seed)


def test_by_entity_the_glob_is_the_test_each_predicted_once_at_its_last_row():
    parts = fleet_parts()
    assert names_of(FLEET, parts.test) == FLEET.entities[:40]
    assert origins(parts.test) == (FLEET.runs.first + FLEET.runs.length - 1).tolist()[:40]


def test_by_entity_nobody_is_in_two_parts_and_nobody_is_lost():
    for options in ({}, {"test": None}):
        names = [set(names_of(FLEET, part)) for part in fleet_parts(**options)]
        assert sorted(chain.from_iterable(names)) == FLEET.entities
        assert all(4 <= len(part) for part in names)


def test_by_entity_training_takes_all_windows():
    train = fleet_parts().train
    assert train.count == sum(FLEET.runs.length[train.run] - 9)


def test_by_entity_validation_is_cut_at_seeded_points_spread_over_each_life():
    cuts = [fleet_parts(seed).validation for seed in range(40)]
    for samples in cuts:
        assert (samples.first == samples.last).all()
        age = samples.first - FLEET.runs.first[samples.run] + 1
        assert ((age >= 10) & (age <= FLEET.runs.length[samples.run])).all()
        assert set(Counter(names_of(FLEET, samples)).values()) == {CUTS}
        gaps = np.diff(samples.first)[np.diff(samples.run) == 0]
        lives = (FLEET.runs.length[samples.run][1:] - 9)[np.diff(samples.run) == 0]
        assert (abs(gaps - lives / CUTS) < 1).all()
    place = np.concatenate([(c.first - FLEET.runs.first[c.run] - 9) / (FLEET.runs.length[c.run] - 10) for c in cuts])
    assert np.quantile(place, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.12)  # uniform over life


def test_by_entity_a_life_over_several_runs_is_cut_in_all_of_them():
    index = make_index(*[(f"e{unit:02}", start, 20) for unit in range(30) for start in (0, 50)])
    validation = split_samples(index, Window(5, 2), by_entity(validation=0.3), 0).validation
    assert set(Counter(validation.run.tolist()).values()) == {CUTS // 2}
    assert set(Counter(names_of(index, validation)).values()) == {CUTS}


def test_by_entity_lives_shorter_than_the_window_are_cut_at_their_end():
    index = make_index(*[(f"e{unit:02}", 0, 4) for unit in range(20)])
    parts = split_samples(index, Window(10, 0, pad=True), by_entity(validation=0.3), seed=1)
    assert (parts.validation.first - index.runs.first[parts.validation.run] == 3).all()


def test_by_entity_membership_stays_when_entities_are_added():
    some = make_index(*[(f"train/{unit:02}", 0, 30) for unit in range(20)], ("test/00", 0, 30))
    before, after = names_of(some, fleet_parts(index=some).validation), names_of(FLEET, fleet_parts().validation)
    assert before == [name for name in after if name in some.entities]


def test_by_entity_another_seed_gives_other_members():
    assert names_of(FLEET, fleet_parts(0).validation) != names_of(FLEET, fleet_parts(1).validation)


def test_by_entity_two_others_still_train_and_validate():
    index = make_index(("a", 0, 30), ("b", 0, 30), ("test/c", 0, 30))
    for seed in range(20):
        assert all(part.count for part in fleet_parts(seed, index))


@pytest.mark.parametrize("count", [3, 4, 5])
def test_by_entity_few_entities_are_in_all_three_parts(count):
    index = make_index(*[(f"e{unit}", 0, 30) for unit in range(count)])
    for seed in range(40):
        assert all(part.count for part in fleet_parts(seed, index, test=None, validation=0.5))


def test_two_entities_cannot_be_in_three_parts():
    with pytest.raises(DataRefused, match="two entities cannot train, validate and test"):
        fleet_parts(0, make_index(("a", 0, 30), ("b", 0, 30)), test=None)


@pytest.mark.parametrize(("shares", "part"), [({"validation": 0.0}, "validation"), ({"validation": 1.0}, "train"),
                                              ({"test": "*"}, "train")])  # fmt: skip
def test_by_entity_an_empty_part_is_refused_naming_it(shares, part):
    with pytest.raises(DataRefused, match=f"the {part} part has no window"):
        fleet_parts(**shares)


def test_a_single_entity_is_not_split_by_entity():
    with pytest.raises(DataRefused, match="'a' is the only entity"):
        split_samples(make_index(("a", 0, 30)), Window(1, 0), by_entity(), seed=0)


def test_a_glob_that_matches_nobody_is_refused():
    with pytest.raises(DataRefused, match="the test part has no window"):
        fleet_parts(test="nobody/*")


def dealt(tmp_path, targets, **options):
    """Per fold the targets of the test's, validation's and training's entities; of one row each."""
    rows = [row for name, target in targets.items() for row in series(name, range(1), base=target)]
    gold = pin(write_gold(tmp_path, rows))
    index = build_index(gold, EVERY)
    split = by_folds(**options)
    found = []
    for fold in range(split.count):
        parts = split_samples(index, Window(1, 0), split, 0, gold=gold, fold=fold)
        found.append(Parts(*({name: targets[name] for name in names_of(index, part)} for part in parts)))
    return found


def test_by_folds_each_entity_is_tested_once_and_is_in_one_part_of_a_fold(tmp_path):
    targets = {f"e{number:02d}": float(number % 2) for number in range(20)}
    folds = dealt(tmp_path, targets, count=4)
    assert sorted(chain.from_iterable(fold.test for fold in folds)) == sorted(targets)
    for fold in folds:
        assert Counter(chain.from_iterable(fold)) == Counter([*targets]), "each once in all three parts together"
        assert len(fold.validation) == 3


def test_by_folds_rare_targets_are_spread_over_all_folds_and_over_validation(tmp_path):
    targets = {f"e{number:03d}": float(number < 20) for number in range(200)}
    for fold in dealt(tmp_path, targets, count=5, validation=0.25):
        assert [sum(part.values()) for part in fold] == [12, 4, 4]


def test_by_folds_needs_an_entity_for_each(tmp_path):
    with pytest.raises(DataRefused, match="3 entities for 5 folds"):
        dealt(tmp_path, {"a": 0.0, "b": 1.0, "c": 0.0})


def test_by_start_each_entity_begins_with_its_training_rows():
    index = make_index(("a", 0, 20), ("b", 0, 6), ("b", 10, 4))
    split = Split(start=ByStart(rows="50 %", validation="20 %"))
    parts = split_samples(index, Window(1, 0), split, seed=0)
    assert [origins(part) for part in parts] == [
        [*range(0, 8), *range(20, 24)],
        [8, 9, 24],
        [*range(10, 20), *range(25, 30)],
    ]


def test_by_start_counts_rows_and_windows_may_reach_back():
    index = make_index(("a", 0, 20), ("b", 0, 6))
    split = Split(start=ByStart(rows=10, validation=0.2, reach_back=True))
    parts = split_samples(index, Window(3, 0), split, seed=0)
    assert [origins(part) for part in parts] == [[*range(2, 8), *range(22, 25)], [8, 9, 25], [*range(10, 20)]]


@pytest.mark.parametrize("rows", ["0 %", "100 %", 0, -3, "many"])
def test_a_start_is_a_number_of_rows_or_a_share(rows: object):
    with pytest.raises(ValidationError, match=r"is no start|not a share"):
        ByStart(rows=rows)
