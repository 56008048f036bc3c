"""A data set: one kind of raw data, where its files lie, and what they must look like."""

from __future__ import annotations

import codecs
import re
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from nightmill.config.values import Duration, Fraction, Options


def landed_name(raw: str) -> str:
    """The bronze name of a raw column: `day` and names with a leading underscore are Nightmill's own."""
    return f"raw_{raw.lstrip('_')}" if raw == "day" or raw.startswith("_") else raw


class Wide(Options):
    """One column per entity: each such column becomes rows of (entity, value)."""

    entity: str
    """Column that receives the name of each wide column."""
    value: str
    """Column that receives the values."""
    position: str | None = None
    """Column that receives the 1-based position of each wide column, when its order means something."""


class Source(Options):
    """Where the raw files lie and how their publisher wrote them."""

    format: Literal["csv", "parquet"]
    """File format."""
    path: str
    """Glob under `${raw}`; `{day}` stands for the drop's day, as in `${raw}/city/traffic/{day}/*.csv`."""
    separator: str = ","
    """Column separator of csv; `whitespace` splits at runs of blanks."""
    header: bool = True
    """Whether the first line of a csv file names its columns."""
    columns: list[str] | None = None
    """Column names of a csv file without header, in order; without them columns are named 1, 2, 3 …"""
    encoding: str = "UTF-8"
    """Character encoding of csv."""
    line_breaks: bool = False
    """Whether quoted texts of a csv file may hold line breaks; such a file is read by one task."""
    missing: list[str] = []
    """Texts that mean a missing value, beside the empty one."""
    file_name: str | None = None
    """Regular expression over the file's name; each named group becomes a text column."""
    constants: dict[str, str] = {}
    """Columns that every record receives, with the same text each, where the publisher left them out."""
    may_be_empty: bool = False
    """Whether a day's drop may hold no record, as of rare events; otherwise such a drop is refused."""
    row_number: str | None = None
    """Column that receives the 1-based number of each record in its file, where the position carries meaning."""
    wide: Wide | None = None
    """Set where each entity has a column of its own."""

    @field_validator("file_name")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                names = re.compile(value).groupindex
            except re.error as error:
                raise ValueError(f"'{value}' is not a regular expression: {error}") from None
            if not names:
                raise ValueError(f"'{value}' has no named group: write (?P<column>…)")
        return value

    @field_validator("separator")
    @classmethod
    def _one_character(cls, value: str) -> str:
        if value != "whitespace" and (len(value) != 1 or value in '\r\n"'):
            raise ValueError(f"{value!r} is not one character, as in ';', nor 'whitespace'")
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding_known(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError:
            raise ValueError(f"'{value}' is no character encoding, as in UTF-8, ISO-8859-1, UTF-16LE") from None
        return value

    @model_validator(mode="after")
    def _fits_format(self) -> Source:
        if self.format == "parquet" and (self.columns or not self.header or self.separator != ","):
            raise ValueError("columns, header and separator belong to format csv; parquet names its own columns")
        if self.may_be_empty and self.wide:
            raise ValueError("may_be_empty is for rare events; a wide file has values of every entity")
        if self.header and self.columns:
            raise ValueError("columns are for files without header: set header: false, or leave columns out")
        return self


class Time(Options):
    """What a row's time is and how often rows come."""

    column: str
    """Name of the time column in silver; `ts` is its UTC copy everywhere."""
    every: Duration
    """Regular step between rows of one entity; a row off the step stays, and no window crosses it."""
    zone: str = "UTC"
    """Time zone of raw times that say no offset, and of the local day."""
    format: str | None = None
    """Pattern of raw times (Spark's datetime letters); ISO 8601 without it."""
    index: str | None = None
    """Column that counts steps from 1, where rows carry no time: time = start + (index - 1) * every."""
    start: datetime | None = None
    """Local time of index 1."""
    holidays: str | None = None
    """Country or country-region of public holidays, as in US-CA."""

    @property
    def told_by(self) -> str:
        """The raw column that says the time: the one that counts steps, or the time's own."""
        return self.index or self.column

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"'{value}' is not an IANA time zone, as in Europe/Berlin") from None
        return value

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
    def _index_with_start(self) -> Time:
        if (self.index is None) != (self.start is None):
            raise ValueError("index and start go together: time = start + (index - 1) * every")
        return self


class Column(Options):
    """One column of the contract."""

    type: Literal["float", "int", "text", "bool"] = "float"
    """Type in silver."""
    unit: str | None = None
    """Unit of measure, as in mph, °C, 1."""
    between: tuple[float, float] | None = None
    """Lowest and highest value allowed, both included."""
    one_of: list[str] | None = None
    """The only texts allowed."""
    required: bool = False
    """Refuse rows in which it is missing."""

    @model_validator(mode="after")
    def _rules_fit(self) -> Column:
        if self.between and not self.between[0] <= self.between[1]:
            raise ValueError(f"between {list(self.between)} allows nothing: write the lowest value first")
        if self.between and self.type not in ("float", "int"):
            raise ValueError(f"between is for numbers, not for type {self.type}")
        if self.one_of is not None and self.type != "text":
            raise ValueError(f"one_of is for texts, not for type {self.type}")
        return self


class Contract(Options):
    """What silver promises: key, time, types, ranges, units."""

    key: list[str] = Field(min_length=1)
    """Columns that name a row: the entity's, then the time column."""
    time: Time | None = None
    """Absent for static tables, which hold one row per key and no history."""
    columns: dict[str, Column] = {}
    """Columns kept in silver; key columns that are not listed are text."""

    @model_validator(mode="after")
    def _key_ends_in_time(self) -> Contract:
        for name in (*self.key, *self.columns):
            if name == "day" or name.startswith("_"):
                raise ValueError(
                    f"'{name}' is a name of Nightmill's own; a raw column of that name lands as {landed_name(name)}"
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
    def recorded(self) -> set[str]:
        """Columns that each raw record must give."""
        named = {*self.key, *self.columns}
        return named - {self.time.column} | {self.time.told_by} if self.time else named

    def column(self, name: str) -> Column:
        """The named column's contract; key columns default to text."""
        return self.columns.get(name) or Column(type="text", required=True)


class Gaps(Options):
    """How missing steps of one entity are filled, within its local day."""

    fill: Literal["interpolate", "forward"]
    """Straight line between neighbours, or the last value."""
    at_most: Duration
    """Longest gap that is filled; longer ones stay gaps."""


class Clean(Options):
    """From bronze to silver."""

    duplicates: Literal["keep_last", "keep_first"] = "keep_last"
    """Which of several rows with one key stays, by drop day, then file, then content."""
    gaps: Gaps | None = None
    """Absent: gaps stay."""
    max_refused: Fraction = 0.2
    """Above this share of refused records a day is refused whole."""


class DataSet(Options):
    """One kind of raw data and what it must look like."""

    name: str = ""
    """Set from the file's place: conf/data/city/traffic.yaml is city/traffic."""
    title: str
    """One line for people."""
    source: Source
    """Where the files lie and how they are written."""
    contract: Contract
    """What silver promises."""
    clean: Clean = Clean()
    """From bronze to silver."""

    @model_validator(mode="after")
    def _known_columns(self) -> DataSet:
        known = {*self.contract.columns, *self.contract.key}
        for gap_column in [self.contract.time.index] if self.contract.time and self.contract.time.index else []:
            if gap_column not in known and gap_column != self.source.row_number:
                raise ValueError(f"time.index names '{gap_column}', which is neither a column nor source.row_number")
        return self
