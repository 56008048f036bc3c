"""Values that people write with a unit: `5 min`, `60 d`, `20 %`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, PlainValidator, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


class Options(BaseModel):
    """One concept of the configuration: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


def parse_duration(value: Any) -> timedelta:
    """`5 min` -> timedelta. Units: ms, s, min, h, d, w."""
    if isinstance(value, timedelta):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", str(value))
    if not found or found[2] not in _SECONDS or float(found[1]) <= 0:
        raise ValueError(f"'{value}' is not a duration: write a number and a unit, as in 5 min, 1 h, 60 d")
    try:
        return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])
    except OverflowError:
        raise ValueError(f"'{value}' is too long a duration") from None


def format_duration(value: timedelta) -> str:
    """timedelta -> the shortest exact `5 min`."""
    if isinstance(value, Months):
        return f"{value.count} month" + ("s" if value.count > 1 else "")
    seconds = value.total_seconds()
    for unit in ("w", "d", "h", "min", "s"):
        if seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])} {unit}"
    return f"{round(seconds * 1000)} ms"


def short_duration(value: timedelta) -> str:
    """A duration as part of a name: 24 h is 1d."""
    return format_duration(value).replace(" ", "")


class Months(timedelta):
    """A step of calendar months, which have no fixed length; as a duration it is the mean one of 30.4375 days."""

    count: int

    def __new__(cls, count: int) -> Months:
        made = super().__new__(cls, days=30.4375 * count)
        made.count = count
        return made

    def __reduce__(self) -> tuple[type[Months], tuple[int]]:
        return Months, (self.count,)


def parse_step(value: Any) -> timedelta:
    """`5 min` or `1 month`."""
    found = re.fullmatch(r"\s*(\d+)\s*months?\s*", str(value))
    if found and int(found[1]) > 0:
        return Months(int(found[1]))
    return value if isinstance(value, timedelta) else parse_duration(value)


def parse_fraction(value: Any) -> float:
    """`20 %` or 0.2 -> 0.2."""
    text = str(value).strip()
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ValueError(f"'{value}' is not a share: write 20 % or 0.2") from None
    if not 0 <= number <= 1:
        raise ValueError(f"'{value}' is not a share between 0 % and 100 %")
    return number


def parse_part(value: Any) -> float | timedelta | date:
    """`20 %`, `60 d`, `12 months` or `2020-10-02`."""
    if isinstance(value, date | timedelta):
        return value
    text = str(value).strip()
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise ValueError(f"'{value}' is no day of the calendar") from None
    try:
        return parse_step(text) if text[-1:].isalpha() else parse_fraction(text)
    except ValueError:
        raise ValueError(
            f"'{value}' is no part of a time: write a share, a duration or a day, as in 20 %, 60 d, 2020-10-02"
        ) from None


def parse_start(value: Any) -> int | float:
    """`400` or `80 %`."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    share = parse_fraction(value)
    if not 0 < share < 1:
        raise ValueError(f"'{value}' is no start: write a number of rows or a share of them, as in 400, 80 %")
    return share


def parse_size(value: Any) -> int:
    """`4 GiB` -> bytes. Units: KiB, MiB, GiB, TiB."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]iB)\s*", str(value))
    if not found or float(found[1]) <= 0:
        raise ValueError(f"'{value}' is not a size: write a number and a unit, as in 500 MiB, 4 GiB")
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2][0]) + 1))


def format_size(value: int) -> str:
    """Bytes -> the shortest exact `4 GiB`."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB")):
        if value % 1024**power == 0:
            return f"{value // 1024**power} {unit}"
    return f"{value / 1024} KiB"


DATA = "data/"
"""What names of data sets begin with where a use case could stand, too: data/city/air."""
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "description": "number and unit: ms, s, min, h, d, w"}),
]
Step = Annotated[
    timedelta,
    PlainSerializer(format_duration, return_type=str),
    PlainValidator(parse_step),
    WithJsonSchema({"type": "string", "description": "number and unit: ms, s, min, h, d, w, month"}),
]
"""A duration, or calendar months."""
Fraction = Annotated[float, BeforeValidator(parse_fraction)]
Part = Annotated[
    float | timedelta | date,
    PlainSerializer(
        lambda part: (
            format_duration(part) if isinstance(part, timedelta) else part if isinstance(part, float) else str(part)
        )
    ),
    PlainValidator(parse_part),
    WithJsonSchema({"type": "string", "description": "share, duration (number and unit) or day"}),
]
"""The end of a stretch of time: a share of it, how long it is, or its first local day."""
Start = Annotated[
    int | float,
    PlainSerializer(lambda start: start),
    PlainValidator(parse_start),
    WithJsonSchema({"type": "string", "description": "whole number, or share"}),
]
"""The first of some rows: how many, or which share of them."""
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": "string", "description": "number and unit: KiB, MiB, GiB, TiB"}),
]


def one_key(what: str, example: str, short: str | Mapping[str, str] = "of") -> Callable[[Any], Any]:
    """Reads `- kind: {options}` and for short `- kind: value` or `kind`; `short` names the option
    that a value is, of all kinds or of each."""

    def read(value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if not isinstance(value, dict) or "kind" in value:
            return value
        if len(value) != 1:
            raise ValueError(f"{what} is one kind and its options, as in {example}")
        ((kind, options),) = value.items()
        if options is None:
            return {"kind": kind}
        if isinstance(options, dict):
            return {"kind": kind, **options}
        return {"kind": kind, short if isinstance(short, str) else short.get(kind, "of"): options}

    return read
