"""What is fitted is fitted on training rows alone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nightmill.errors import DataRefused
from nightmill.handoff import Window, build_index, pin, select_samples
from nightmill.models.shape import FOLDS, MINUTES_PER_DAY, Shape, local_day
from nightmill.train.fit import fit, refuse_unfit, vocabulary

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def table(rows):
    """rows: (entity, hours since Monday, feature, target)."""
    stamps = [MONDAY + hours * HOUR for _, hours, _, _ in rows]
    return pa.table(
        {
            "entity": pa.array([r[0] for r in rows], pa.string()),
            "ts": pa.array(stamps, pa.timestamp("us", "UTC")),
            "day": pa.array([s.date() for s in stamps], pa.date32()),
            "heat": pa.array([r[2] for r in rows], pa.float32()),
            "minute_of_week": pa.array([r[1] * 60 % 10080 for r in rows], pa.float32()),
            "target": pa.array([r[3] for r in rows], pa.float32()),
        }
    )


def fitted(
    path, *tables, until=None, lookback=1, horizon=0, smoothing=None, bins=0, slots=24, features=("heat",), **more
):
    for part in tables:
        write_deltalake(str(path), part, mode="append")
    gold = pin(str(path))
    index = build_index(gold, HOUR)
    end = None if until is None else round((MONDAY + until * HOUR).timestamp() * 1_000_000)
    samples = select_samples(index, Window(lookback, horizon), until=end)
    shape = Shape(features, lookback, horizon, False, 0, None, every=MINUTES_PER_DAY / slots, **more)
    return fit(gold, index, samples, shape, smoothing, bins), vocabulary(index, samples)


def test_bins_hold_alike_and_only_training_rows(tmp_path):
    values = [*range(100), 9e6]
    rows = [("a", hour, value, 0) for hour, value in enumerate(values)]
    rows[7] = ("a", 7, None, 0)
    found, _ = fitted(tmp_path, table(rows), until=100, bins=4)
    known = np.delete(np.arange(100.0), 7)
    assert found.edges.tolist() == [pytest.approx(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]).tolist())]
    assert fitted(tmp_path / "other", table(rows))[0].edges is None


def test_bins_of_many_rows_are_those_of_rows_that_stand_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr("nightmill.train.fit.SAMPLE", 500)
    values = np.random.default_rng(0).permutation(5000).astype(float)
    rows = [("a", hour, value, 0) for hour, value in enumerate(values)]
    found, _ = fitted(tmp_path, table(rows[:2500]), table(rows[2500:]), bins=2)
    assert found.edges[0] == pytest.approx([0, 2500, 5000], abs=300)


def test_mean_and_deviation_of_features_and_target(tmp_path):
    found, names = fitted(tmp_path, table([("a", 0, 1, 10), ("a", 1, 3, 30), ("b", 0, 5, 50), ("b", 1, 7, 70)]))
    assert names == ["a", "b"]
    assert (found.mean.tolist(), found.target_mean) == ([4], 40)
    assert found.std[0] == pytest.approx(5**0.5) and found.target_std == pytest.approx(500**0.5)


def test_rows_after_the_training_part_are_not_seen(tmp_path):
    found, _ = fitted(tmp_path, table([("a", 0, 1, 10), ("a", 1, 3, 30), ("a", 2, 1e6, 1e6)]), until=2)
    assert (found.mean.tolist(), found.target_mean) == ([2], 20)


def test_rows_that_no_window_sees_are_not_seen(tmp_path):
    # b's history is too short for a window
    rows = [("a", 0, 1, 1), ("a", 1, 2, 2), ("a", 2, 3, 3), ("b", 0, 99, 99)]
    found, names = fitted(tmp_path, table(rows), lookback=2, horizon=1)
    assert (found.mean.tolist(), names) == ([2], ["a"])


def test_several_files_give_the_figures_of_one(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(e, h, float(v), float(2 * v)) for e in "abc" for h, v in enumerate(rng.normal(1e4, 1, 60))]
    one, _ = fitted(tmp_path / "one", table(rows))
    parts = [table([r for r in rows if r[1] // 20 == part]) for part in range(3)]
    several, _ = fitted(tmp_path / "several", *parts)
    values = np.array([r[2] for r in rows])
    assert np.allclose(one.mean, several.mean) and np.allclose(one.std, several.std, rtol=1e-5)
    assert one.std[0] == pytest.approx(values.astype(np.float32).astype(float).std(), rel=1e-5)


def test_missing_values_are_left_out(tmp_path):
    found, _ = fitted(tmp_path, table([("a", 0, 1, None), ("a", 1, None, 30), ("a", 2, 3, float("nan"))]))
    assert (found.mean.tolist(), found.target_mean) == ([2], 30)


def test_a_feature_that_never_varies_is_not_divided_by_nothing(tmp_path):
    found, _ = fitted(tmp_path, table([("a", h, 0.1, h) for h in range(5)]))
    assert found.std.tolist() == [1]


def test_an_infinite_value_is_refused_by_name(tmp_path):
    with pytest.raises(DataRefused, match="features are infinite: 'heat' in 1 rows, for instance of 'b'"):
        fitted(tmp_path, table([("a", 0, 1, 1), ("a", 1, 1, 1), ("b", 0, 1, 1), ("b", 1, float("inf"), 1)]))


def test_infinite_values_of_validation_rows_are_refused_before_training(tmp_path):
    rows = table([("a", hour, 1, 1) for hour in range(4)])
    rows = rows.set_column(rows.schema.get_field_index("heat"), "heat", pa.array([1, 1, 1, 1e300]))
    write_deltalake(str(tmp_path / "gold"), rows)
    gold = pin(str(tmp_path / "gold"))
    index = build_index(gold, timedelta(hours=1))
    samples = select_samples(index, Window(1, 0))
    shape = Shape(("heat",), 1, 0, False, 0, None, every=60)
    refuse_unfit(gold, index, samples.at(samples.first, samples.last - 1), shape)
    with pytest.raises(DataRefused, match="features are infinite: 'heat' in 1 rows, for instance of 'a'"):
        refuse_unfit(gold, index, samples, shape)


def test_a_feature_that_is_never_known_is_refused_by_name(tmp_path):
    with pytest.raises(DataRefused, match="feature 'heat' has no value in any of the 2 training rows") as refused:
        fitted(tmp_path, table([("a", 0, None, 1), ("a", 1, float("nan"), 1)]))
    assert "features:" in refused.value.fix


def test_a_table_without_any_known_target_is_refused(tmp_path):
    with pytest.raises(DataRefused, match="no training row has a known target"):
        fitted(tmp_path, table([("a", 0, 1, None), ("a", 1, 1, None)]))


def test_a_profile_knows_weekdays_from_weekends(tmp_path):
    saturday = 5 * 24
    rows = [("a", 8, 1, 20), ("a", 32, 1, 40), ("a", saturday + 8, 1, 90)]
    found, _ = fitted(tmp_path, table(rows), smoothing=0, features=("heat", "minute_of_week"))
    assert found.profile[1, 0, 8] == 30 and found.profile[1, 1, 8] == 90


def test_a_profile_is_smoothed_round_midnight(tmp_path):
    rows = [("a", 0, 1, 10), ("a", 1, 1, 40), ("a", 23, 1, 70)]
    found, _ = fitted(tmp_path, table(rows), smoothing=1, features=("heat", "minute_of_week"))
    assert found.profile[1, 0, [22, 23, 0, 1, 2]].tolist() == [70, 40, 40, 25, 40]


def test_a_cell_without_rows_asks_the_other_days_then_the_other_entities_then_everything(tmp_path):
    rows = [("a", 8, 1, 20), ("b", 8, 1, 60), ("b", 9, 1, 80)]
    found, _ = fitted(tmp_path, table(rows), smoothing=0, features=("heat", "minute_of_week"))
    a = found.profile[1]
    assert a[1, 8] == 20  # a's own weekday
    assert a[0, 9] == 80  # all entities at nine
    assert a[0, 3] == pytest.approx(160 / 3)  # nobody was ever seen at three


def test_the_unknown_entity_has_the_profile_of_all(tmp_path):
    rows = [("a", 8, 1, 20), ("b", 8, 1, 60)]
    found, _ = fitted(tmp_path, table(rows), smoothing=0, features=("heat", "minute_of_week"))
    assert found.profile[0, 0, 8] == 40


def test_a_held_out_profile_does_not_know_its_own_day(tmp_path):
    rows = [("a", 24 * day + 8, 1, value) for day, value in enumerate([10, 20, 60])]
    found, _ = fitted(tmp_path, table(rows), smoothing=0, features=("heat", "minute_of_week"))
    monday = round(MONDAY.timestamp()) // 86_400
    held_out = [found.held_out[(monday + day) % FOLDS, 1, 0, 8] for day in range(3)]
    assert found.profile[1, 0, 8] == 30
    assert held_out == [40, 35, 15]


def test_a_day_that_stands_alone_is_held_out_by_what_is_left(tmp_path):
    rows = [("a", 8, 1, 20), ("b", 24 + 8, 1, 60)]
    found, _ = fitted(tmp_path, table(rows), smoothing=0, features=("heat", "minute_of_week"))
    monday = round(MONDAY.timestamp()) // 86_400
    assert found.held_out[monday % FOLDS, 1, 0, 8] == 60  # all other entities


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 0), ("America/Los_Angeles", -8), ("Pacific/Auckland", 12)])
def test_the_day_of_a_row_is_the_local_one(zone, hours):
    midnight = round(MONDAY.timestamp() * 1e6)
    found = []
    for hour in range(48):
        local_minute = np.array([(hour + hours) % 24 * 60])
        found.append(int(local_day(np.array([midnight + hour * 3_600_000_000]), local_minute)[0]))
    changes = [hour for hour in range(1, 48) if found[hour] != found[hour - 1]]
    assert changes == [hour for hour in range(1, 48) if (hour + hours) % 24 == 0]


def test_without_a_clock_there_is_no_profile(tmp_path):
    found, _ = fitted(tmp_path, table([("a", 0, 1, 1), ("a", 1, 2, 2)]), smoothing=1)
    assert found.profile is None


def test_classes_are_counted_where_the_target_is_one(tmp_path):
    rows = table([("a", h, 1, value) for h, value in enumerate([0, 2, 2, None, 1, 2])])
    found, _ = fitted(tmp_path / "three", rows, head="classes", classes=("ok", "scratch", "dent"), low=0.0, high=2.0)
    assert found.classes.tolist() == [1, 1, 3]
    two, _ = fitted(tmp_path / "two", table([("a", h, 1, h % 2) for h in range(5)]), head="probability")
    assert two.classes.tolist() == [3, 2]
    assert fitted(tmp_path / "none", rows)[0].classes is None


def test_a_class_that_is_none_is_refused(tmp_path):
    rows = table([("a", h, 1, value) for h, value in enumerate([0, 1.5, 2])])
    with pytest.raises(DataRefused, match="the target is 1.5 in a row of 'a'.*0 to 2, whole numbers"):
        fitted(tmp_path, rows, head="classes", classes=("ok", "scratch", "dent"), low=0.0, high=2.0)


def test_infinite_values_are_counted_over_all_row_groups_for_every_column(tmp_path):
    infinite = float("inf")
    parts = [[("a", 10 * part + h, infinite if h % 2 else 1, 1) for h in range(10)] for part in range(3)]
    parts[1][4] = ("a", 14, 1, infinite)
    with pytest.raises(DataRefused, match="features are infinite: 'heat' in 15 rows, 'target' in 1 rows"):
        fitted(tmp_path, *(table(part) for part in parts))


def test_every_feature_without_a_value_is_named(tmp_path):
    rows = table([("a", h, None, h) for h in range(3)])
    rows = rows.append_column("cold", pa.array([None] * 3, pa.float32()))
    with pytest.raises(DataRefused, match="feature 'heat', 'cold' has no value in any of the 3 training rows"):
        fitted(tmp_path, rows, features=("heat", "cold"))


def test_pieces_of_a_row_group_give_the_figures_of_the_whole(tmp_path, monkeypatch):
    from nightmill.handoff import files

    rows = table([(e, h, h * h, 3 * h) for e in "ab" for h in range(40)])
    whole, _ = fitted(tmp_path / "whole", rows, lookback=3, smoothing=1, features=("heat", "minute_of_week"))
    monkeypatch.setattr(files.Storage.pieces, "__defaults__", (7,))
    pieces, _ = fitted(tmp_path / "pieces", rows, lookback=3, smoothing=1, features=("heat", "minute_of_week"))
    assert np.allclose(whole.mean, pieces.mean) and np.allclose(whole.std, pieces.std)
    assert np.allclose(whole.profile, pieces.profile) and whole.target_mean == pytest.approx(pieces.target_mean)
