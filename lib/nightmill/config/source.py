"""Where raw data lie and how their publisher wrote them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from nightmill.config.values import Options, one_key

_FORBIDDEN = str.maketrans({c: "_" for c in " ,;{}()\n\t=`"})
"""Characters that Delta does not allow in names of columns."""


def is_raw(name: str) -> bool:
    """Whether a column of bronze is the source's own; the others landing adds."""
    return name != "day" and not name.startswith("_")


def landed_name(raw: str) -> str:
    """The bronze name of a raw column.

    Blanks and the signs `` ,;{}()=` `` become `_`; `day` and names with a leading underscore are Nightmill's own.
    """
    name = raw.strip().translate(_FORBIDDEN)
    return name if is_raw(name) else f"raw_{name.lstrip('_')}"


def landed_path(raw: str) -> str:
    """The bronze name of a raw column; of a path into json only its first part is a column, the rest stays as it is."""
    top, dot, inside = raw.strip().partition(".")
    return f"{landed_name(top)}{dot}{inside}"


def landed_place(raw: str, columns: Collection[str], file_format: str) -> tuple[str, str] | None:
    """The column of bronze that holds what a contract calls so, and the path to it inside, empty for the whole column.

    Only in json a name may be a path. None where there is no such column.
    """
    whole, (top, _, inside) = landed_name(raw), raw.partition(".")
    if whole in columns:
        return whole, ""
    return (top, inside) if inside and file_format == "json" and top in columns else None


class Wide(Options):
    """One column per entity: each such column becomes rows of (entity, value).

    An empty cell of a csv file is a record without a value. A column that a file lacks has no records there, and a null
    of Parquet or json is none.
    """

    entity: str
    """Column that receives the name of each wide column."""
    value: str
    """Column that receives the values."""
    position: str | None = None
    """Column that receives the 1-based position of each wide column, when its order means something."""


class Image(Options):
    """Pictures of 8 bits a colour: one record each, with `pixels` (bytes, by rows), `height`, `width`, `channels`."""

    kind: Literal["image"] = "image"
    mode: Literal["grey", "rgb"] = "rgb"
    """Colours that are kept: one byte a pixel, or three."""


class Mat(Options):
    """MATLAB files: one record per block of each one-dimensional array, with `variable`, `block` (from 1), `samples`.

    Samples are float64, little-endian, whatever numbers the array has; the last block of an array may be shorter.
    """

    kind: Literal["mat"] = "mat"
    variables: str = ".*"
    """Regular expression that names of arrays must contain."""
    block: int = Field(2048, ge=1)
    """Samples per record."""


class JobShop(Options):
    """Job-shop instances (n m, then a line per job of machine and duration pairs): one record per operation.

    Columns: `job`, `step`, `machine` (from 0), `duration`, `jobs`, `machines`.
    """

    kind: Literal["jobshop"] = "jobshop"


class PMedian(Options):
    """p-median graphs (n m p, then an edge a line): one record per edge, with the smaller node first.

    Columns: `line`, `source`, `target`, `length`, `nodes`, `sites`.
    """

    kind: Literal["pmedian"] = "pmedian"


class Voc(Options):
    """PASCAL VOC annotations: one record per box: `image`, `box` (from 1), `label`, `xmin`, `ymin`, `xmax`, `ymax`."""

    kind: Literal["voc"] = "voc"


class Reference(Options):
    """Files that are only referred to: one record per file, with `path`, `bytes`, `sha256`."""

    kind: Literal["reference"] = "reference"


Parser = Annotated[
    Annotated[Image | Mat | JobShop | PMedian | Voc | Reference, Field(discriminator="kind")],
    BeforeValidator(one_key("a parser", "image: {mode: grey}")),
]


class Jdbc(Options):
    """A database that is asked through JDBC."""

    url: str = Field(pattern="^jdbc:")
    """As in jdbc:postgresql://host:5432/plant, without name and password."""
    driver: str | None = None
    """Java class of the driver; PostgreSQL's, MySQL's, MariaDB's, SQL Server's and Oracle's are known by the url."""
    query: str | None = None
    """SQL to ask instead of `source.table`; `{day}` stands for the drop's day."""
    login: str | None = Field(None, pattern="^[A-Za-z_][A-Za-z0-9_]*$")
    """PLANT reads name and password from the environment's PLANT_USER and PLANT_PASSWORD."""
    split: str | None = None
    """Whole-number column by which several tasks share the reading of `source.table`."""
    parts: int = Field(4, ge=1)
    """How many tasks share it."""


class Source(Options):
    """Where the raw files lie and how their publisher wrote them."""

    format: Literal["csv", "json", "parquet", "files", "delta", "table", "jdbc"]
    """Format of the files, or delta (a table by its path), table (by its name in the catalog), jdbc (a database). Times
    of Parquet of the form INT96, which has no zone, mean UTC, as Spark and Hive write them."""
    path: str = ""
    """Glob under `${raw}`; `{day}` stands for the drop's day, as in `${raw}/city/traffic/{day}/*.csv`."""
    separator: str = ","
    """Column separator of csv; `whitespace` splits at runs of blanks."""
    header: bool = True
    """Whether the first line of a csv file names its columns."""
    columns: list[str] | None = None
    """Column names of a csv file without header, in order; without them columns are named 1, 2, 3 …"""
    encoding: str = "UTF-8"
    """Character encoding of csv and json."""
    decimal: Literal[".", ","] = "."
    """Decimal sign of numbers in csv and json; a number with another sign is refused."""
    line_breaks: bool = False
    """Whether quoted texts of a csv file may hold line breaks, which land as `\\n`; such a file is read by one task."""
    records: str | None = None
    """Where a json document has its list of records, as in data.items; `.` if it is the list. Without it each line is a
    record."""
    parser: Parser | None = None
    """What reads the content of format files."""
    table: str | None = None
    """Name of the table, for formats table and jdbc."""
    where: str | None = None
    """SQL condition on a table's rows; `{day}` stands for the drop's day, as in `day = DATE'{day}'`."""
    jdbc: Jdbc | None = None
    """The database, for format jdbc."""
    missing: list[str] = []
    """Texts that mean a missing value, beside the empty one."""
    file_name: str | None = None
    """Regular expression over the file's name, or with a slash in it over its path below the raw folder; each named
    group becomes a text column."""
    constants: dict[str, str] = {}
    """Columns that every record receives, with the same text each, where the publisher left them out."""
    may_be_empty: bool = False
    """Whether a day's drop may hold no record, as of rare events; otherwise such a drop is refused."""
    row_number: str | None = None
    """Column that receives the 1-based number of each record in its file, where the position carries meaning."""
    wide: Wide | None = None
    """Set where each entity has a column of its own."""
    new_columns: Literal["refuse", "land"] = "refuse"
    """What becomes of a file with a column that neither the contract nor bronze knows."""

    @property
    def is_pulled(self) -> bool:
        """Whether rows are asked from a table instead of found in files."""
        return self.format in ("delta", "table", "jdbc")

    @property
    def by_day(self) -> bool:
        """Whether each day has a drop of its own."""
        texts = (self.path, self.where, self.jdbc and self.jdbc.query)
        return any("{day}" in text for text in texts if text)

    @property
    def is_text(self) -> bool:
        """Whether the files are text in an encoding."""
        return self.format in ("csv", "json")

    @property
    def charset(self) -> str:
        """The encoding's name in Java."""
        name = codecs.lookup(self.encoding).name
        known = {"utf-8-sig": "UTF-8", "ascii": "US-ASCII", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE"}
        return known.get(name) or re.sub("^iso8859-", "ISO-8859-", re.sub("^cp125", "windows-125", name))

    @property
    def wide_letters(self) -> bool:
        """Whether an encoding has several bytes for each sign, so that the byte of a line break may be a half one."""
        return self.charset.upper().startswith(("UTF-16", "UTF-32"))

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
        for key, formats in _ONLY_FOR.items():
            set_to = getattr(self, key)
            if set_to != type(self).model_fields[key].get_default() and self.format not in formats:
                raise ValueError(f"{key} is for format {' and '.join(formats)}, not for {self.format}")
        for key, formats in _NEEDED_BY.items():
            if self.format in formats and not getattr(self, key):
                raise ValueError(f"format {self.format} needs {key}")
        if self.format == "jdbc" and not self.table and not (self.jdbc and self.jdbc.query):
            raise ValueError("format jdbc needs table, or a query in jdbc")
        if self.jdbc and self.jdbc.query and (self.table or self.where or self.jdbc.split):
            raise ValueError("a query stands alone: leave out table, where and split")
        if self.may_be_empty and self.wide:
            raise ValueError("may_be_empty is for rare events; a wide file has values of every entity")
        if self.header and self.columns:
            raise ValueError("columns are for files without header: set header: false, or leave columns out")
        return self


_FILES = ("csv", "json", "parquet", "files")
_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "separator": ("csv",),
    "header": ("csv",),
    "columns": ("csv",),
    "line_breaks": ("csv",),
    "encoding": ("csv", "json"),
    "decimal": ("csv", "json"),
    "row_number": ("csv",),
    "records": ("json",),
    "parser": ("files",),
    "file_name": _FILES,
    "table": ("table", "jdbc"),
    "where": ("delta", "table", "jdbc"),
    "jdbc": ("jdbc",),
    "path": (*_FILES, "delta"),
}
_NEEDED_BY: dict[str, tuple[str, ...]] = {
    "path": (*_FILES, "delta"),
    "parser": ("files",),
    "table": ("table",),
    "jdbc": ("jdbc",),
}


def as_list(value: Any) -> Any:
    """A single text as a list of one."""
    return [value] if isinstance(value, str) else value
