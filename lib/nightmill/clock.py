"""Times on which all steps are equally long, whatever the calendar says: of local days and of months, too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from nightmill.config.values import Months

Ints = NDArray[np.int64]

MINUTE, QUARTER, HALF_HOUR, DAY = 60_000_000, 900_000_000, 1_800_000_000, 86_400_000_000
MONTH = Months(1) // timedelta(microseconds=1)
"""Microseconds; of a month those of the mean one, of which no duration that people write is a multiple by chance. All
months are whole half hours, and products of half hours with microseconds fit into 64 bits."""


@dataclass(frozen=True)
class Clock:
    """The clock of a series, from µs UTC to even times and back.

    Steps of local days begin at midnights that are 23 or 25 hours apart where a zone changes its clocks: an even time
    is the local one. Steps of calendar months have 28 to 31 days: an even time counts months, each as long as the mean
    one. For all other steps an even time is µs UTC itself.
    """

    every: int
    """Step, µs; a multiple of MONTH stands for calendar months."""
    zone: str = "UTC"
    """Time zone, as in Europe/Berlin."""

    @classmethod
    def of(cls, every: timedelta, zone: str = "UTC") -> Clock:
        """That of a contract's step and zone."""
        return cls(every // timedelta(microseconds=1), zone)

    @property
    def counts_months(self) -> bool:
        """Whether its steps are calendar months."""
        return self.every > 0 and self.every % MONTH == 0

    @property
    def counts_days(self) -> bool:
        """Whether its steps are local days, which are not those of UTC."""
        return self.zone != "UTC" and self.every > 0 and self.every % DAY == 0

    def even(self, ts: Any) -> Ints:
        """Even times of times, µs UTC."""
        ts = np.asarray(ts, np.int64)
        if self.counts_months:
            local = ts + offsets(ts, self.zone)
            month, begin, length = _month(local.astype("datetime64[us]").astype("datetime64[M]"))
            return month * MONTH + (local - begin) * (MONTH // HALF_HOUR) // (length // HALF_HOUR)
        return ts + offsets(ts, self.zone) if self.counts_days else ts

    def real(self, even: Any) -> Ints:
        """Times, µs UTC, of even times: of such as `even` gives, and of those whole steps before and after them."""
        even = np.asarray(even, np.int64)
        if self.counts_months:
            number, rest = even // MONTH, even % MONTH
            _, begin, length = _month(number.astype("datetime64[M]"))
            local = begin - (-rest * (length // HALF_HOUR) // (MONTH // HALF_HOUR))
        elif self.counts_days:
            local = even
        else:
            return even
        # the clocks say how far they are ahead only of a time in UTC; a day that a change begins is met the second time
        near = local - offsets(local, self.zone)
        return local - offsets(near, self.zone)

    def local(self, even: Any) -> Ints:
        """Local times, µs, of even times: what the zone's clocks show."""
        ts = self.real(even)
        return ts + offsets(ts, self.zone)


def _month(number: NDArray[Any]) -> tuple[Ints, Ints, Ints]:
    """(months since 1970, µs at which they begin, µs that they last) of datetime64[M]."""
    begin, end = (month.astype("datetime64[us]").astype(np.int64) for month in (number, number + 1))
    return number.astype(np.int64), begin, end - begin


def offsets(ts: Ints, zone: str) -> Ints:
    """[n] µs by which the clocks of a zone are ahead of UTC at times ts (µs UTC)."""
    if zone == "UTC" or not ts.size:
        return np.zeros_like(ts)
    if ts.ndim != 1:
        return offsets(ts.ravel(), zone).reshape(ts.shape)
    day = ts // DAY
    first = int(day.min())
    midnights = np.array([_offset(zone, number * DAY) for number in range(first, int(day.max()) + 2)])
    found = midnights[day - first]
    turns = np.flatnonzero(found != midnights[day - first + 1])  # clocks are changed within that day
    quarters, which = np.unique(ts[turns] // QUARTER, return_inverse=True)
    found[turns] = np.array([_offset(zone, number * QUARTER) for number in quarters.tolist()], np.int64)[which]
    return found


@lru_cache(maxsize=65_536)
def _offset(zone: str, ts: int) -> int:
    offset = datetime.fromtimestamp(ts // 1_000_000, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1_000_000)
