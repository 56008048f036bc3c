"""A data set's contract as Spark expressions: the time of a raw record, its UTC copy and its local day."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nightmill.config import DataSet

if TYPE_CHECKING:
    from pyspark.sql import Column

TIMELESS = date(1970, 1, 1)
"""The day of every row of a static table."""
_OFFSET = r"\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)\s*$"


def utc_time(data_set: DataSet) -> Column:
    """`ts` (UTC timestamp) of a raw record; null where its time cannot be read, or where the clock skips it in spring.

    Expects raw columns by name. A time with an offset, or of a type that means UTC, is that instant; without one it is
    local in the contract's zone. Of an hour that the clock repeats in autumn, local times mean the first.
    """
    from pyspark.sql import functions as F

    time = data_set.contract.time
    assert time is not None
    if time.index is not None and time.start is not None:
        start = time.start if time.start.tzinfo else time.start.replace(tzinfo=ZoneInfo(time.zone))
        every = round(time.every.total_seconds() * 1_000_000)
        index = F.expr(f"try_cast(`{time.index}` AS BIGINT)")
        micros = F.lit(round(start.timestamp() * 1_000_000)) + (index - 1) * F.lit(every)
        return F.timestamp_micros(micros)
    column = F.col(f"`{time.column}`")
    if time.format:
        local = F.try_to_timestamp(column.cast("string"), F.lit(time.format))
    else:
        local = F.expr(f"try_cast(`{time.column}` AS TIMESTAMP)")
    if time.zone == "UTC":
        return local
    utc = F.to_utc_timestamp(local, time.zone)
    there = F.when(F.from_utc_timestamp(utc, time.zone) == local, utc)
    if time.format:
        return there
    # a time that says its own offset, in text or by its type, needs no zone
    said = (F.typeof(column) == "timestamp") | F.coalesce(column.cast("string").rlike(_OFFSET), F.lit(False))
    return F.when(said, local).otherwise(there)


def local_day(data_set: DataSet, ts: Column) -> Column:
    """The local day of a UTC time in the data set's zone."""
    from pyspark.sql import functions as F

    assert data_set.contract.time is not None
    return F.to_date(F.from_utc_timestamp(ts, data_set.contract.time.zone))


def record_day(data_set: DataSet) -> Column:
    """The silver day that a bronze record belongs to: its local day, or its drop's where its time cannot be true."""
    from pyspark.sql import functions as F

    if data_set.contract.time is None:
        return F.lit(TIMELESS)
    ts = utc_time(data_set)
    return F.coalesce(F.when(~after_drop(data_set, ts), local_day(data_set, ts)), F.col("_drop_day"))


def after_drop(data_set: DataSet, ts: Column) -> Column:
    """Whether a time lies beyond its drop's day and the next, which a clock that is wrong by a zone may reach.

    Only a drop per day says when it was made. One stray year would else be the last day of all that follows.
    """
    from pyspark.sql import functions as F

    if "{day}" not in data_set.source.path:
        return F.lit(False)
    return local_day(data_set, ts) > F.date_add("_drop_day", 1)
