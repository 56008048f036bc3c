"""Conditions on days, and sizes at which a table is partitioned."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nightmill.lake.writes import days_condition, partition_by_day


def test_runs_of_days_become_ranges() -> None:
    days = [date(2026, 3, 3), date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 9)]
    assert days_condition(days) == "day BETWEEN DATE'2026-03-01' AND DATE'2026-03-03' OR day = DATE'2026-03-09'"
    assert days_condition([]) == "false"


@given(st.sets(st.dates(date(2020, 1, 1), date(2020, 3, 31)), max_size=40))
def test_the_condition_holds_for_exactly_these_days(days: set[date]) -> None:
    text = days_condition(days).replace("DATE'", "'").replace("BETWEEN", ">=").replace(" AND ", " and day <= ")
    python = text.replace(" OR ", " or ").replace(" = ", " == ").replace("false", "False")
    every = [date(2020, 1, 1) + timedelta(days=n) for n in range(91)]
    assert {d for d in every if eval(python, {"day": d.isoformat()})} == days


def test_only_tables_of_a_million_rows_a_day_are_partitioned() -> None:
    assert partition_by_day(2_000_000, 2)
    assert not partition_by_day(1_999_999, 2)
    assert not partition_by_day(0, 0)
