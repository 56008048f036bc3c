"""Random columns are pure functions of seed, salt and what they belong to."""

from __future__ import annotations

import numpy as np
from pyspark.sql import functions as F

from nightmill.simulate.chance import Chance


def _values(spark, column, count=4000, partitions=2):
    rows = spark.range(0, count, 1, partitions).select("id", column.alias("value")).toPandas()
    return rows.sort_values("id")["value"].to_numpy()


def test_a_number_depends_on_seed_salt_and_entity_and_on_nothing_else(spark):
    one = _values(spark, Chance(1).uniform("a", F.col("id")), 50)
    again = _values(spark, Chance(1).uniform("a", F.col("id")), 50, partitions=7)
    assert (one == again).all()
    assert len(set(one)) == 50
    assert not (one == _values(spark, Chance(2).uniform("a", F.col("id")), 50)).any()
    assert not (one == _values(spark, Chance(1).uniform("b", F.col("id")), 50)).any()


def test_uniform_numbers_fill_the_open_interval_evenly(spark):
    values = _values(spark, Chance(3).uniform("a", F.col("id")))
    assert 0 < values.min() < 0.01 and 0.99 < values.max() < 1
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert ((counts > 330) & (counts < 470)).all()  # 400 each; four standard deviations are 76


def test_between_stays_between(spark):
    values = _values(spark, Chance(3).between(30, 90, "a", F.col("id")), 500)
    assert values.min() > 30 and values.max() < 90


def test_normal_numbers_have_mean_0_deviation_1_and_normal_tails(spark):
    values = _values(spark, Chance(4).normal("a", F.col("id")))
    assert abs(values.mean()) < 0.07 and abs(values.std() - 1) < 0.05
    assert 0.93 < (np.abs(values) < 1.96).mean() < 0.97


def test_drift_is_smooth_over_short_and_independent_over_long_times(spark):
    drift = Chance(5).drift("a", F.col("id").cast("double"), 20.0)
    values = _values(spark, drift)
    assert abs(values.std() - 1) < 0.1
    assert np.corrcoef(values[:-1], values[1:])[0, 1] > 0.98
    assert abs(np.corrcoef(values[:-60], values[60:])[0, 1]) < 0.25
    assert np.abs(np.diff(values)).max() < 0.6


def test_drift_can_be_evaluated_between_steps_and_for_any_stretch_alone(spark):
    whole = _values(spark, Chance(5).drift("a", F.col("id") / 2.0, 20.0), 200)
    later = _values(spark, Chance(5).drift("a", (F.col("id") + 100) / 2.0, 20.0), 100)
    assert (whole[100:] == later).all()
