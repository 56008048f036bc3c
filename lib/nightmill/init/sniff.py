"""How a CSV file is written: its encoding, separator, header and words for missing values."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nightmill.errors import DataRefused

ROWS = 200_000
"""Rows that are looked at."""
MISSING = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-", "?", "-999", "-9999")
_HEAD = 1 << 16


@dataclass
class Sniffed:
    """The file as text columns, and how to read it."""

    rows: pd.DataFrame
    """Values as they are written, without blanks at both ends; missing ones are None."""
    encoding: str
    separator: str
    missing: list[str]
    decimal: str = "."


def sniff(path: Path) -> Sniffed:
    """Reads the head of a file; raises DataRefused where it is no table with a header and two rows."""
    content = _bytes(path)
    for encoding in ("UTF-8", "ISO-8859-1"):
        try:
            text = content.decode("utf-8-sig" if encoding == "UTF-8" else encoding)
            break
        except UnicodeDecodeError:
            continue
    separator = _separator(text[:_HEAD])
    try:
        rows = pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, nrows=ROWS, keep_default_na=False, skipinitialspace=True
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise _refused(path, str(error).splitlines()[0]) from None
    header = [name.strip() for name in next(csv.reader([text.split("\n", 1)[0]], delimiter=separator), [])]
    if len(header) == len(rows.columns):
        rows.columns = header
    if len(rows) < 2 or len(rows.columns) < 2:
        raise _refused(path, f"{len(rows)} rows of {len(rows.columns)} columns, separated by {separator!r}")
    if doubled := [name for name, number in Counter(header).items() if number > 1 or not name]:
        raise _refused(path, f"its header names column '{doubled[0]}' twice or not at all")
    if all(_is_number(name) for name in rows.columns):
        raise _refused(path, "its first line is numbers, not names of columns")
    rows = rows.apply(lambda column: column.str.strip())
    used = [word for word in MISSING if _means_missing(rows, word)]
    return Sniffed(rows.mask(rows.isin(["", *used])), encoding, separator, used)


def _means_missing(rows: pd.DataFrame, word: str) -> bool:
    """Whether a word stands in a column of other things: in one of numbers, or a number far below all others."""
    for _, column in rows.items():
        found = column == word
        if not found.any() or found.all():
            continue
        others = pd.to_numeric(column[~found & (column != "")], errors="coerce")
        numbers = others.notna().mean() > 0.9 if len(others) else False
        if not _is_number(word) and numbers:
            return True
        if _is_number(word) and numbers and float(word) < others.min() - abs(others.max() - others.min()):
            return True
    return False


def _bytes(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except OSError as error:
        raise DataRefused(
            f"the file cannot be read: {error.strerror or error}", where=str(path), fix="check --from"
        ) from None


def _separator(head: str) -> str:
    """The one that splits all lines into the same number of fields, and into most."""
    lines = head.splitlines()[:50][: -1 if len(head) == _HEAD else None]
    best, most = ",", 1
    for candidate in (",", ";", "\t", "|"):
        counts = Counter(len(fields) for fields in csv.reader(lines, delimiter=candidate) if fields)
        width, lines_of_it = counts.most_common(1)[0] if counts else (1, 0)
        if width > most and lines_of_it >= 0.9 * counts.total():
            best, most = candidate, width
    return best


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refused(path: Path, why: str) -> DataRefused:
    fix = "give a csv file with a header and a row per entity and time"
    return DataRefused(f"this is no table that a data set could be proposed for: {why}", where=str(path), fix=fix)
