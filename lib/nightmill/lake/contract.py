"""A data set's contract as Spark expressions: raw values, the time of a raw record, its UTC copy and its local day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nightmill.config import DataSet, Time
from nightmill.config.contract import EPOCHS
from nightmill.config.source import landed_place
from nightmill.config.values import Months

if TYPE_CHECKING:
    from pyspark.sql import Column

TIMELESS = date(1970, 1, 1)
"""The day of every row of a static table."""
_DATING = 3
"""Version of the rules by which records are put to days."""
_OFFSET = r"\d(:\d\d?){1,2}(\.\d*)?\s*[A-Za-z+-]"
"""Behind its clock a time names an offset or a zone."""
_WITHOUT_SECONDS = r"([ T]\d\d?:\d\d)(\s*[A-Za-z+-])"
"""Spark wants seconds before an offset; ISO 8601 does not."""
_DATE = r"^\d{4,}-\d\d?-\d\d?"
"""A text without one would be a time of today."""
_CALENDAR = ("0001-01-02", "9999-12-30")
"""First and last times that are believed, a day from the ends for the zones."""
_SHIFTS = ("30 MINUTES", "60 MINUTES")
"""How far autumn sets clocks back."""


def raw_value(data_set: DataSet, raws: tuple[str, ...], columns: Collection[str]) -> Column:
    """What a record has under the first of these bronze names that it has; null of type text where there is none.

    `columns` are those of the frame; in json a name may be a path into a column.
    """
    from pyspark.sql import functions as F

    found = []
    for raw in raws:
        column, inside = landed_place(raw, columns, data_set.source.format) or ("", "")
        if column and not inside:
            found.append(F.col(f"`{column}`"))
        elif column:
            keys = "".join(f"['{key}']" for key in inside.split("."))
            paths = dict.fromkeys([keys, f"['{inside}']"])  # a key may have dots
            found += [F.get_json_object(F.col(f"`{column}`"), f"${path}") for path in paths]
    if not found:
        return F.lit(None).cast("string")
    return found[0] if len(found) == 1 else F.coalesce(*found)


def present(data_set: DataSet, value: Column) -> Column:
    """A raw value as trimmed text, null where it is empty or one of the texts that mean missing."""
    from pyspark.sql import functions as F

    text = F.trim(value.cast("string"))
    return F.when(~text.isin(["", *data_set.source.missing]), text)


def shown_time(data_set: DataSet, columns: Collection[str]) -> Column:
    """The raw time as text, for messages."""
    from pyspark.sql import functions as F

    time = data_set.contract.time
    assert time is not None
    if time.parts:
        return F.concat_ws(" ", *[raw_value(data_set, (raw,), columns).cast("string") for raw in time.told_by])
    return raw_value(data_set, time.told_by, columns).cast("string")


def utc_time(data_set: DataSet, columns: Collection[str]) -> Column:
    """`ts` (UTC timestamp) of a raw record; null where its time cannot be read, or where the clock skips it in spring.

    A time with an offset, or of a type that means UTC, is that instant; without one it is local in the contract's
    zone. Of an hour that the clock repeats in autumn, local times mean the first. Times that no calendar of four-digit
    years has are none: readers in Python could not show them.
    """
    from pyspark.sql import functions as F

    time = data_set.contract.time
    assert time is not None
    ts = _instant(data_set, time, columns)
    first, last = (F.lit(end).cast("timestamp") for end in _CALENDAR)
    return F.when(ts.between(first, last), ts)


def _instant(data_set: DataSet, time: Time, columns: Collection[str]) -> Column:
    from pyspark.sql import functions as F

    if time.index is not None:
        return _counted(data_set, time, columns)
    if time.parts is not None:
        return _begin(time, _of_parts(data_set, time, columns))
    value = raw_value(data_set, time.told_by, columns)
    if time.format in EPOCHS:
        number = value.try_cast("decimal(20,6)") * EPOCHS[time.format]
        return _before(time, F.timestamp_micros(F.round(number).try_cast("bigint")))
    if time.format:
        found = F.try_to_timestamp(F.trim(value.cast("string")), F.lit(time.format))
        return _before(time, found) if time.says_offset else _begin(time, found)
    text = F.trim(value.cast("string"))
    typed = F.typeof(value).isin("timestamp", "timestamp_ntz", "date")
    dated = text.rlike(r"^\d{4,}" if isinstance(time.every, Months) else _DATE)
    whole = F.regexp_replace(text, _WITHOUT_SECONDS, "$1:00$2")
    told = F.coalesce(text.try_cast("timestamp"), whole.try_cast("timestamp"))
    found = F.when(typed, value.try_cast("timestamp")).otherwise(F.when(dated, told))
    if time.zone == "UTC":
        return _begin(time, found)
    # a time that says its own offset, in text or by its type, needs no zone
    said = (F.typeof(value) == "timestamp") | F.coalesce(text.rlike(_OFFSET), F.lit(False))
    return F.when(said, _before(time, found)).otherwise(_begin(time, found))


def second_pass(data_set: DataSet, ts: Column) -> Column:
    """The later of the two instants that a local time means, null where the clock does not repeat it."""
    from pyspark.sql import functions as F

    time = data_set.contract.time
    assert time is not None
    step = _every(time) if time.stamp == "end" and not isinstance(time.every, Months) else F.expr("INTERVAL 0 SECONDS")
    shown = F.from_utc_timestamp(ts + step, time.zone)
    later = [ts + F.expr(f"INTERVAL {shift}") for shift in _SHIFTS]
    return F.coalesce(*[F.when(F.from_utc_timestamp(one + step, time.zone) == shown, one) for one in later])


def local_day(data_set: DataSet, ts: Column) -> Column:
    """The local day of a UTC time in the data set's zone."""
    from pyspark.sql import functions as F

    assert data_set.contract.time is not None
    return F.to_date(F.from_utc_timestamp(ts, data_set.contract.time.zone))


def record_day(data_set: DataSet, columns: Collection[str]) -> Column:
    """The silver day that a bronze record belongs to: its local day, or its drop's where its time cannot be true."""
    from pyspark.sql import functions as F

    if data_set.contract.time is None:
        return F.lit(TIMELESS)
    ts = utc_time(data_set, columns)
    return F.coalesce(F.when(~after_drop(data_set, ts), local_day(data_set, ts)), F.col("_drop_day"))


def dating(data_set: DataSet) -> str:
    """Changes whenever `record_day` may put a record to another day."""
    time = data_set.contract.time
    if time is None:
        return f"{_DATING} none"
    unused = {"holidays", "repeated_hour"}  # of a repeated hour both passes lie on one day
    if time.stamp == "begin" and time.index is None:
        unused.add("every")
    told = time.model_dump(mode="json", exclude=unused) | {"by_day": data_set.source.by_day}
    return f"{_DATING} {hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]}"


def after_drop(data_set: DataSet, ts: Column) -> Column:
    """Whether a time lies beyond its drop's day and the next, which a clock that is wrong by a zone may reach.

    Only a drop per day says when it was made. One stray year would else be the last day of all that follows.
    """
    from pyspark.sql import functions as F

    if not data_set.source.by_day:
        return F.lit(False)
    return local_day(data_set, ts) > F.date_add("_drop_day", 1)


def _utc(time: Time, local: Column) -> Column:
    from pyspark.sql import functions as F

    if time.zone == "UTC":
        return local
    utc = F.to_utc_timestamp(local, time.zone)
    return F.when(F.from_utc_timestamp(utc, time.zone) == local, utc)


def _begin(time: Time, stamp: Column) -> Column:
    """The begin (UTC timestamp) of the step that a local stamp names."""
    from pyspark.sql import functions as F

    if time.stamp != "begin" and time.midnight == "same_day":
        stamp = F.when(F.date_trunc("day", stamp) == stamp, stamp + F.expr("INTERVAL 1 DAY")).otherwise(stamp)
    if time.stamp == "end" and not time.is_daily:
        return _before(time, _utc(time, stamp))
    return _utc(time, _before(time, stamp))


def _before(time: Time, stamp: Column) -> Column:
    """A step earlier, where stamps are ends."""
    from pyspark.sql import functions as F

    if time.stamp == "begin":
        return stamp
    if isinstance(time.every, Months):
        return F.add_months(stamp, -time.every.count).cast("timestamp")
    return stamp - _every(time)


def _every(time: Time) -> Column:
    from pyspark.sql import functions as F

    return F.expr(f"INTERVAL {round(time.every.total_seconds() * 1000)} MILLISECONDS")


def _of_parts(data_set: DataSet, time: Time, columns: Collection[str]) -> Column:
    """Local time out of its parts, null where one of them is none."""
    from pyspark.sql import functions as F

    assert time.parts is not None
    text = {part: raw_value(data_set, (raw,), columns) for part, raw in time.parts.named.items()}
    whole = {part: value.try_cast("int") for part, value in text.items() if part not in ("date", "second")}
    if "date" in text:
        date_ = text["date"].try_cast("date")
        whole |= {"year": F.year(date_), "month": F.month(date_), "day": F.day(date_)}
    default = {"month": 1, "day": 1, "hour": 0, "minute": 0}
    names = ("year", "month", "day", "hour", "minute")
    year, month, day, hour, minute = (whole.get(part, F.lit(default.get(part))) for part in names)
    seconds = text["second"].try_cast("decimal(8,6)") if "second" in text else F.lit(0).cast("decimal(8,6)")
    return F.try_make_timestamp(year, month, day, hour, minute, seconds)


def _counted(data_set: DataSet, time: Time, columns: Collection[str]) -> Column:
    """start + (index - 1) * every."""
    from pyspark.sql import functions as F

    assert time.start is not None
    steps = raw_value(data_set, time.told_by, columns).try_cast("bigint") - 1
    start = time.start if time.start.tzinfo else time.start.replace(tzinfo=ZoneInfo(time.zone))
    local = start.astimezone(ZoneInfo(time.zone)).replace(tzinfo=None)
    if isinstance(time.every, Months):
        first = F.lit(local.date())
        return _utc(time, F.add_months(first, (steps * time.every.count).cast("int")).cast("timestamp"))
    every = round(time.every.total_seconds() * 1_000_000)
    if time.is_daily and time.days == "all":  # local days, of which two a year have 23 or 25 hours
        begin = round(local.replace(tzinfo=UTC).timestamp() * 1_000_000)
        return _utc(time, F.timestamp_micros(F.lit(begin) + steps * F.lit(every)))
    if time.days == "all":
        return F.timestamp_micros(F.lit(round(start.timestamp() * 1_000_000)) + steps * F.lit(every))
    # the n-th working day after the Monday of the first week; the clock counts on through each local day
    a_day = round(86_400_000_000 / every)
    monday, begin = (
        F.date_sub(F.lit(local.date()), local.weekday()),
        local.hour * 3600 + local.minute * 60 + local.second,
    )
    nth = F.floor(steps / a_day) + local.weekday()
    day = F.date_add(monday, (F.floor(nth / 5) * 7 + nth % 5).cast("int"))
    micros = F.unix_micros(day.cast("timestamp")) + begin * 1_000_000 + (steps % a_day) * F.lit(every)
    return _utc(time, F.timestamp_micros(micros))
