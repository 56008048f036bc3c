"""Lines wear their tools, stocks add up without a past, meters only grow."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from nightmill.metrics import pr_auc
from nightmill.simulate import line, meters, moulding, spare_parts
from nightmill.simulate.chance import Chance

FRIDAY, CHANCE = date(2026, 3, 6), Chance(7)


def test_a_line_works_two_shifts_of_working_days_and_wear_shows_in_the_force(spark):
    rows = line.parts(spark, FRIDAY, 4, 2, CHANCE).toPandas()
    assert rows.groupby("day").size().to_dict() == {date(2026, 3, 6): 1920, date(2026, 3, 9): 1920}
    assert rows["part"].is_unique
    share = rows["verdict"].value_counts(normalize=True)
    assert 0.9 < share["ok"] < 0.995 and set(share.index) <= set(line.VERDICTS)
    assert rows["force"].corr(rows["diameter"]) > 0.5


def test_defects_come_as_often_as_their_chances_say_and_no_line_tells_them_all(spark):
    rows = moulding.parts(spark, FRIDAY, 7, 20, CHANCE).withColumn("chance", moulding.chances()).toPandas()
    assert len(rows) == 7 * 20 * 288
    assert 0.05 < rows["defect"].mean() < 0.25
    tenths = rows.groupby(pd.qcut(rows["chance"], 10, duplicates="drop"), observed=True)[["chance", "defect"]].mean()
    assert (abs(tenths["chance"] - tenths["defect"]) < 0.03).all()
    x, odds = rows[list(moulding.MIDDLE)], np.log(rows["chance"] / (1 - rows["chance"]))
    line_of = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), odds, rcond=None)[0]
    by_line = np.column_stack([x, np.ones(len(x))]) @ line_of
    known, guessed = (pr_auc(rows["defect"], value) for value in (rows["chance"], by_line))
    assert guessed + 0.04 < known < 0.99


def test_stocks_add_up_within_a_day_and_from_day_to_day(spark):
    rows = spare_parts.stocks(spark, FRIDAY, 21, 60, CHANCE).toPandas().sort_values(["part", "day"])
    assert (rows["opening"] + rows["receipts"] - rows["issued"] == rows["closing"]).all()
    before = rows.groupby("part")["closing"].shift()
    assert (before == rows["opening"])[before.notna()].all()
    assert (rows["closing"] >= 0).all() and (rows["issued"] <= rows["demand"]).all()
    assert 0 < (rows["issued"] < rows["demand"]).mean() < 0.05
    assert (rows[[day.weekday() >= 5 for day in rows["day"]]]["demand"] == 0).all()


def test_meters_only_grow_and_faster_in_shifts(spark):
    rows = meters.counters(spark, date(2026, 3, 28), 3, 4, CHANCE).toPandas().sort_values(["meter", "ts"])
    used = rows.groupby("meter")["kwh"].diff()
    assert used.min() > 0
    monday = [day == date(2026, 3, 30) for day in rows["day"]] & rows["ts"].dt.hour.between(7, 18)
    sunday = [day == date(2026, 3, 29) for day in rows["day"]]
    assert used[monday].mean() > 1.5 * used[sunday].mean()
    alone = meters.counters(spark, date(2026, 3, 29), 1, 4, CHANCE).toPandas().sort_values(["meter", "ts"])
    assert (alone["kwh"].to_numpy() == rows[sunday]["kwh"].to_numpy()).all()
