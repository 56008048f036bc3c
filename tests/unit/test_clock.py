"""Even times: all steps are equally long, and the times they stand for come back to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightmill.clock import MONTH, Clock, offsets
from nightmill.config.values import Months

DAY, HOUR = timedelta(days=1), 3_600_000_000


def micros(moments):
    return np.array([(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for moment in moments])


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"])
@given(minutes=st.lists(st.integers(0, 3 * 366 * 24 * 60), min_size=1, max_size=50))
def test_offsets_are_those_of_the_zone(zone, minutes):
    ts = micros([datetime(2024, 1, 1, tzinfo=UTC)])[0] + np.array(minutes) * 60_000_000
    wanted = [datetime.fromtimestamp(t / 1e6, ZoneInfo(zone)).utcoffset().total_seconds() * 1e6 for t in ts.tolist()]
    assert offsets(ts, zone).tolist() == wanted


def test_offsets_of_the_hours_of_a_clock_change_and_of_nothing():
    ts = micros([datetime(2026, 3, 29, tzinfo=UTC)])[0] + np.arange(48) * HOUR // 2
    assert [o / HOUR for o in offsets(ts, "Europe/Berlin")] == [1] * 2 + [2] * 46
    assert len(offsets(np.zeros(0, np.int64), "Europe/Berlin")) == 0


@pytest.mark.parametrize("every", [timedelta(minutes=5), timedelta(hours=1), DAY])
def test_fixed_steps_are_times_themselves(every):
    ts = micros([datetime(2026, 3, 29, tzinfo=UTC) + n * every for n in range(50)])
    clock = Clock.of(every, "UTC" if every == DAY else "Europe/Berlin")
    assert clock.even(ts) is ts or (clock.even(ts) == ts).all()
    assert (clock.real(ts) == ts).all()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"])
def test_local_days_are_equally_long_over_all_changes_of_the_clocks(zone):
    days = [datetime(2026, 1, 1) + n * DAY for n in range(400)]
    ts = micros([day.replace(tzinfo=ZoneInfo(zone)) for day in days])
    clock = Clock.of(DAY, zone)
    even = clock.even(ts)
    if zone == "America/Santiago":  # its clocks skip a midnight, and that day begins an hour late
        assert sorted(set(np.diff(even).tolist())) == [23 * 3_600_000_000, clock.every, 25 * 3_600_000_000]
    else:
        assert set(np.diff(even).tolist()) == {clock.every}
        assert len(set(np.diff(ts).tolist())) == 3
    assert (clock.real(even) == ts).all()
    assert [moment.hour for moment in clock.local(even).astype("datetime64[us]").tolist()].count(0) >= 399


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("count", [1, 3])
def test_months_are_equally_long(zone, count):
    firsts = [datetime(1960 + n // 12, n % 12 + 1, 1, tzinfo=ZoneInfo(zone)) for n in range(0, 1000, count)]
    clock, ts = Clock.of(Months(count), zone), micros(firsts)
    even = clock.even(ts)
    assert set(np.diff(even).tolist()) == {clock.every} and clock.every == count * MONTH
    assert (clock.real(even) == ts).all()
    assert (clock.real(even[0] + clock.every * np.arange(len(ts))) == ts).all()


@given(st.integers(-(10**15), 3 * 10**15), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_any_time_comes_back_from_a_clock_of_months(ts, zone):
    clock = Clock(MONTH, zone)
    there, later = clock.even([ts, ts + 3_600_000_000]).tolist()
    near = clock.real([there])[0]
    repeated = 3_600_000_000 if zone != "UTC" else 0  # of an hour that the clock repeats in autumn
    assert min(abs(near - ts), abs(abs(near - ts) - repeated)) <= 1
    assert there <= later or zone != "UTC"


def test_a_table_keeps_its_shape():
    clock = Clock(MONTH, "Europe/Berlin")
    ts = micros([datetime(2026, n, 1, tzinfo=UTC) for n in range(1, 7)]).reshape(2, 3)
    assert clock.even(ts).shape == clock.real(clock.even(ts)).shape == (2, 3)
    assert (clock.real(clock.even(ts)) == ts).all()
