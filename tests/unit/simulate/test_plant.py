"""Lines wear their tools, stocks add up without a past, meters only grow."""

from __future__ import annotations

from datetime import date

from nightmill.simulate import line, meters, spare_parts
from nightmill.simulate.chance import Chance

FRIDAY, CHANCE = date(2026, 3, 6), Chance(7)


def test_a_line_works_two_shifts_of_working_days_and_wear_shows_in_the_force(spark):
    rows = line.parts(spark, FRIDAY, 4, 2, CHANCE).toPandas()
    assert rows.groupby("day").size().to_dict() == {date(2026, 3, 6): 1920, date(2026, 3, 9): 1920}
    assert rows["part"].is_unique
    share = rows["verdict"].value_counts(normalize=True)
    assert 0.9 < share["ok"] < 0.995 and set(share.index) <= set(line.VERDICTS)
    assert rows["force"].corr(rows["diameter"]) > 0.5


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
