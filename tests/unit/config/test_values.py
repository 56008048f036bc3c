"""Values that people write with a unit."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightmill.config.values import format_duration, format_size, parse_duration, parse_fraction, parse_part, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250 ms", 0.25), ("30 s", 30), ("5 min", 300), ("1 h", 3600), ("60 d", 5_184_000), ("2 w", 1_209_600)]
    + [("1.5h", 5400), ("  5   min ", 300)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("wrong", ["5", 5, "min", "5 minutes", "-5 min", "0 h", "5 M", "1 h 30 min", "", None, [5]])
def test_anything_else_is_no_duration(wrong: object) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit, as in 5 min"):
        parse_duration(wrong)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "250 ms"),
        (90, "90 s"),
        (300, "5 min"),
        (5400, "90 min"),
        (86400, "1 d"),
        (604800, "1 w"),
        (864000, "10 d"),
    ],
)
def test_a_duration_is_shown_by_its_largest_exact_unit(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.integers(min_value=1, max_value=10**12))
def test_a_shown_duration_reads_back_the_same(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "share"),
    [("20 %", 0.2), ("20%", 0.2), (0.2, 0.2), ("0.2", 0.2), (0, 0), (1, 1), ("100 %", 1), ("0.5 %", 0.005)],
)
def test_a_share_is_written_in_percent_or_as_a_number(text: object, share: float) -> None:
    assert parse_fraction(text) == pytest.approx(share)


@pytest.mark.parametrize("wrong", ["20", 20, "-1 %", "101 %", "a lot", "% 20", "", None, "nan", "nan %"])
def test_anything_else_is_no_share(wrong: object) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        parse_fraction(wrong)


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("4 GiB", 4 * 2**30, "4 GiB"),
        ("1.5GiB", 3 * 2**29, "1536 MiB"),
        ("500 KiB", 512_000, "500.0 KiB"),
        ("1 TiB", 2**40, "1 TiB"),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int, shown: str) -> None:
    assert parse_size(text) == size and format_size(size) == shown
    assert parse_size(shown) == parse_size(size) == size


@pytest.mark.parametrize("wrong", ["4", "4 GB", "-1 GiB", "0 MiB", "much", "", True, None, 1.5])
def test_anything_else_is_no_size(wrong: object) -> None:
    with pytest.raises(ValueError, match="is not a size: write a number and a unit, as in 500 MiB"):
        parse_size(wrong)


@pytest.mark.parametrize(
    ("text", "part"),
    [("20 %", 0.2), (0.1, 0.1), ("60 d", timedelta(days=60)), ("2020-10-02", date(2020, 10, 2))]
    + [(date(2020, 10, 2), date(2020, 10, 2))],
)
def test_a_part_of_a_time_is_a_share_a_duration_or_a_day(text: object, part: object) -> None:
    assert parse_part(text) == part


@pytest.mark.parametrize("wrong", ["2020-02-31", "60 days", "120 %", "soon", None])
def test_anything_else_is_no_part(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"is no (part of a time: write a share, a duration|day of the calendar)"):
        parse_part(wrong)
