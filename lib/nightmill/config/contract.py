"""A contract: what silver promises, and which raw columns give it."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from nightmill.config.source import as_list, is_raw, landed_name, landed_path
from nightmill.config.values import Options, Step

RawNames = Annotated[list[str], BeforeValidator(as_list)]
ITEM_BYTES = {"uint8": 1, "int16": 2, "int32": 4, "float32": 4, "float64": 8}
"""Bytes of one number of an array."""


EPOCHS = {"epoch": 1_000_000, "epoch_ms": 1_000}
"""Forms of times that are numbers -> microseconds of 1."""
_LETTERS = "GyMLdDQqEFahHkKmsSVzOXxZ"
"""Letters of Spark's patterns for times."""


def _signs(pattern: str | None) -> set[str]:
    """The signs of a pattern for times, without those that stand for themselves."""
    return set(re.sub(r"'[^']*'", "", pattern or ""))


class Parts(Options):
    """Raw columns that make a time together."""

    date: str | None = None
    """Column of the date, as 2011-01-31; or year, month and day by themselves."""
    year: str | None = None
    """Column of the year."""
    month: str | None = None
    """Column of the month, 1-12; January without it."""
    day: str | None = None
    """Column of the day of the month; the first without it."""
    hour: str | None = None
    """Column of the hour, 0-23."""
    minute: str | None = None
    """Column of the minute."""
    second: str | None = None
    """Column of the second, which may have a fraction."""

    @model_validator(mode="after")
    def _names_a_day(self) -> Parts:
        if (self.date is None) == (self.year is None):
            raise ValueError("parts need either date, or year with month and day")
        return self

    @property
    def named(self) -> dict[str, str]:
        """Part -> bronze column, for the parts that are given."""
        return {part: landed_name(name) for part, name in self.model_dump(exclude_none=True).items()}


class Time(Options):
    """What a row's time is and how often rows come."""

    column: str
    """Name of the time column in silver; `ts` is its UTC copy everywhere."""
    every: Step
    """Regular step between rows of one entity; a row off the step stays, and no window crosses it."""
    zone: str = "UTC"
    """Time zone of raw times that say no offset, and of the local day."""
    from_: RawNames | None = Field(None, alias="from")
    """Raw column of the time, or several names that it had, where it is not called like the time column."""
    format: str | None = None
    """Pattern of raw times (Spark's datetime letters); ISO 8601 without it. `epoch` and `epoch_ms` are seconds and
    milliseconds since 1970 in UTC."""
    parts: Parts | None = None
    """Set where several raw columns make the time together."""
    index: str | None = None
    """Column that counts steps from 1, where rows carry no time: time = start + (index - 1) * every."""
    start: datetime | None = None
    """Local time of index 1."""
    days: Literal["all", "weekdays"] = "all"
    """Days that an index runs through: weekdays leaves Saturdays and Sundays out."""
    stamp: Literal["begin", "end", "hour_ending"] = "begin"
    """Which end of its step a raw time names; `ts` is the begin. Where clocks change, `end` is what they show at the
    end, `hour_ending` what they showed at the begin and a step more, as power utilities number hours."""
    midnight: Literal["next_day", "same_day"] = "next_day"
    """Which date 0:00 carries where stamps are ends: that of the day that begins, or of the day that ends."""
    repeated_hour: Literal["first", "in_order"] = "first"
    """Local times of the hour that autumn repeats: all mean the first pass, or a file's second record of a time means
    the second (needs source.row_number)."""
    holidays: str | None = None
    """Country or country-region of public holidays, as in US-CA."""

    @property
    def is_daily(self) -> bool:
        """Whether a step is a day or longer: its rows lie on local midnights, and a day has no neighbours within."""
        return self.every.days >= 1

    @property
    def told_by(self) -> tuple[str, ...]:
        """The bronze columns that may say the time: of parts all are needed, of several names one."""
        if self.index:
            return (self.index,)
        if self.parts:
            return tuple(self.parts.named.values())
        return tuple(landed_path(name) for name in self.from_ or [self.column])

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"'{value}' is not an IANA time zone, as in Europe/Berlin") from None
        return value

    @field_validator("format")
    @classmethod
    def _format_known(cls, value: str | None) -> str | None:
        letters = set() if value in EPOCHS else _signs(value)
        wrong = sorted({sign for sign in letters if sign == "%" or (sign.isalpha() and sign not in _LETTERS)})
        if wrong:
            raise ValueError(f"'{value}' has '{wrong[0]}', which is no letter of a time: write as yyyy-MM-dd HH:mm:ss")
        return value

    @property
    def says_offset(self) -> bool:
        """Whether the format has the offset or the zone of a time."""
        return self.format in EPOCHS or bool(_signs(self.format) & set("VzOXxZ"))

    @field_validator("holidays")
    @classmethod
    def _country_known(cls, value: str | None) -> str | None:
        if value is not None:
            from holidays import list_supported_countries  # takes a moment: only for those who ask for holidays

            country, _, region = value.partition("-")
            known = list_supported_countries()
            if country not in known:
                raise ValueError(f"'{value}' names no country by ISO 3166, as in US or US-CA")
            if region and region not in known[country]:
                regions = ", ".join(known[country]) or "none"
                raise ValueError(f"'{value}' names no region of {country} with holidays of its own: {regions}")
        return value

    @model_validator(mode="after")
    def _told_once(self) -> Time:
        if (self.index is None) != (self.start is None):
            raise ValueError("index and start go together: time = start + (index - 1) * every")
        if sum(value is not None for value in (self.index, self.parts, self.from_)) > 1:
            raise ValueError("a time comes from one of from, parts and index")
        if self.days == "weekdays" and self.index is None:
            raise ValueError("days: weekdays is for an index")
        if self.midnight == "same_day" and self.stamp == "begin":
            raise ValueError("midnight: same_day is for stamps that are ends: set stamp: end")
        return self


class Column(Options):
    """One column of the contract."""

    type: Literal["float", "int", "text", "bool", "array"] = "float"
    """Type in silver; an array is bytes of numbers, all of one size, as images and waveforms are."""
    of: Literal["uint8", "int16", "int32", "float32", "float64"] | None = None
    """Number type of an array."""
    shape: list[int] | None = None
    """Size of an array along each axis, as in [200, 200]."""
    from_: RawNames | None = Field(None, alias="from")
    """Raw name, or several that the column had; its own name without it. In json a path, as in bounds.upper."""
    unit: str | None = None
    """Unit of measure, as in mph, °C, 1."""
    from_unit: str | None = None
    """Unit of the raw values, where they are converted to `unit`."""
    between: tuple[float, float] | None = None
    """Lowest and highest value allowed, both included, in `unit`."""
    one_of: list[str] | None = None
    """The only texts allowed."""
    matches: str | None = None
    """Regular expression that a whole text must match."""
    required: bool = False
    """Refuse rows in which it is missing."""
    optional: bool = False
    """Files may lack the column altogether, as from before it was added."""
    personal: Literal["pseudonym", "remove"] | None = None
    """Says something of a person: bronze receives a pseudonym of it, or nothing."""
    blur: float | None = Field(None, gt=0)
    """Bronze receives it coarser: numbers rounded to this step, images in squares of so many pixels."""

    @property
    def bytes(self) -> int:
        """Size of an array in bytes."""
        return math.prod(self.shape or []) * ITEM_BYTES[self.of or "uint8"]

    @field_validator("matches")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"'{value}' is not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _rules_fit(self) -> Column:
        if self.between and not self.between[0] <= self.between[1]:
            raise ValueError(f"between {list(self.between)} allows nothing: write the lowest value first")
        for key, types in _ONLY_FOR.items():
            if getattr(self, key) is not None and self.type not in types:
                raise ValueError(
                    f"{key} is for {' and '.join(dict.fromkeys(_TYPES[t] for t in types))}, not for type {self.type}"
                )
        if self.type == "array" and (not self.of or not self.shape or min(self.shape) < 1):
            raise ValueError("an array needs of and shape, as in {type: array, of: uint8, shape: [200, 200]}")
        if self.blur and self.type == "array" and (len(self.shape or []) < 2 or self.of != "uint8" or self.blur % 1):
            raise ValueError("blur of an array is for images of uint8, by a whole number of pixels")
        if self.required and self.personal == "remove":
            raise ValueError("what is removed cannot be required")
        if self.from_unit:
            conversion(self.from_unit, self.unit)
        return self


def array_type(of: str) -> str:
    """Number type in gold of an array that has numbers of this type in silver."""
    return of if of == "uint8" else "float32"


_TYPES = {"float": "numbers", "int": "numbers", "text": "texts", "array": "arrays", "bool": "truth values"}
_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "between": ("float", "int"),
    "one_of": ("text",),
    "matches": ("text",),
    "from_unit": ("float",),
    "blur": ("float", "array"),
    "of": ("array",),
    "shape": ("array",),
}


def conversion(raw: str, wanted: str | None) -> tuple[float, float]:
    """factor, offset with wanted = raw * factor + offset; raises ValueError where the units do not convert."""
    if wanted is None:
        raise ValueError(f"from_unit {raw} needs a unit to convert to")
    import pint  # takes a moment: only for those who convert

    units: pint.UnitRegistry = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    try:
        zero, million = (float(units.Quantity(x, _spelt(raw)).to(_spelt(wanted)).magnitude) for x in (0.0, 1e6))
    except pint.DimensionalityError:
        raise ValueError(f"'{raw}' does not convert to '{wanted}': they measure different things") from None
    except (pint.PintError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"'{raw}' to '{wanted}': {error}") from None
    return float(f"{(million - zero) / 1e6:.15g}"), float(f"{zero:.15g}")


def _spelt(unit: str) -> str:
    """As pint spells it."""
    return {"1": "dimensionless", "°C": "degC", "°F": "degF", "°R": "degR", "rpm": "revolutions_per_minute"}.get(
        unit, unit.replace("%", "percent")
    )


class Contract(Options):
    """What silver promises: key, time, types, ranges, units."""

    key: list[str] = Field(min_length=1)
    """Columns that name a row: the entity's, then the time column."""
    time: Time | None = None
    """Absent for static tables, which hold one row per key and no history."""
    columns: dict[str, Column] = {}
    """Columns kept in silver; key columns that are not listed are text."""

    @property
    def personal(self) -> dict[str, Column]:
        """Columns that are changed on landing, because they say something of a person."""
        return {name: column for name, column in self.columns.items() if column.personal or column.blur}

    @model_validator(mode="after")
    def _key_ends_in_time(self) -> Contract:
        for name in (*self.key, *self.columns):
            if not is_raw(name):
                raise ValueError(
                    f"'{name}' is a name of Nightmill's own; a raw column of that name lands as {landed_name(name)}"
                )
            if landed_name(name) != name:
                raise ValueError(
                    f"'{name}' has signs that a column's name may not have: name it anew, with from: {name}"
                )
        if doubled := [name for name in self.key if self.key.count(name) > 1]:
            raise ValueError(f"key names '{doubled[0]}' twice")
        if self.time and self.time.column not in self.key:
            raise ValueError(f"the time column '{self.time.column}' is missing from key {self.key}")
        if self.time and len(self.key) < 2:
            raise ValueError("the key needs an entity column beside the time column")
        return self

    @property
    def entity(self) -> list[str]:
        """Key columns without the time column."""
        return [name for name in self.key if self.time is None or name != self.time.column]

    @property
    def kept(self) -> list[str]:
        """Columns of silver beside `ts` and those of Nightmill's own: the key's, then the contract's."""
        return list(dict.fromkeys([*self.entity, *self.columns]))

    def array_of(self, name: str | None) -> tuple[str, tuple[int, ...]] | None:
        """Number type in gold, and size along each axis, of a column of arrays; None without a name."""
        if name is None:
            return None
        return array_type(str(self.columns[name].of)), tuple(self.columns[name].shape or ())

    def column(self, name: str) -> Column:
        """The named column's contract; key columns default to text."""
        return self.columns.get(name) or Column(type="text", required=True)

    def raw(self, name: str) -> tuple[str, ...]:
        """The bronze names that a silver column may come from."""
        return tuple(landed_path(raw) for raw in self.column(name).from_ or [name])

    @property
    def recorded(self) -> dict[str, tuple[str, ...]]:
        """What each raw record must give: name -> the bronze columns of which one is needed."""
        needed = {name: self.raw(name) for name in self.kept if not self.column(name).optional}
        if self.time is None:
            return needed
        if self.time.parts:
            return needed | {f"{self.time.column} ({part})": (raw,) for part, raw in self.time.parts.named.items()}
        return needed | {self.time.column: self.time.told_by}
