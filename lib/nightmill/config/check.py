"""What the parts of a data set ask of each other: checked when the file is read, with the place of each slip."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterator

from nightmill.config.cleaning import SEQUENCE, AnyRule, Known, Range
from nightmill.config.contract import Contract
from nightmill.config.dataset import DataSet
from nightmill.config.document import Document
from nightmill.config.source import landed_name
from nightmill.errors import ConfigError

Slip = tuple[tuple[Hashable, ...], str, str]
"""Where in the file, what is wrong, what to do."""


def check_data_set(data_set: DataSet, document: Document) -> None:
    """Raises ConfigError for the first part that does not fit the others."""
    for found in (_times, _arrays, _rules, _filters, _steps, _events, _place):
        for location, what, fix in found(data_set):
            where = document.place(location)
            if found is _steps and where.startswith("--set"):
                continue  # an override reaches the static tables of a command, too
            raise ConfigError(f"{data_set.name}: {what}", where=where, fix=fix)


def _times(data_set: DataSet) -> Iterator[Slip]:
    contract, source, time = data_set.contract, data_set.source, data_set.contract.time
    if time is None:
        return
    raw = {name for column in contract.kept for name in contract.raw(column)}
    given = {*raw, *contract.kept, *source.constants, *([source.row_number] if source.row_number else [])}
    if time.index and landed_name(time.index) not in given:
        what = f"time.index names '{time.index}', which is neither a column nor source.row_number"
        yield ("contract", "time", "index"), what, "name the column that counts steps"
    if time.repeated_hour == "in_order" and not source.row_number:
        yield (
            ("contract", "time", "repeated_hour"),
            "repeated_hour: in_order needs the order of a file's records",
            "set source.row_number: line",
        )


def _arrays(data_set: DataSet) -> Iterator[Slip]:
    for name, column in data_set.contract.columns.items():
        at = ("contract", "columns", name)
        if column.type == "array" and name in data_set.contract.key:
            yield at, f"'{name}' is an array, which cannot name a row", "leave it out of the key"
        if column.personal == "remove" and name in data_set.contract.key:
            yield (*at, "personal"), f"'{name}' names a row and cannot be removed", "write personal: pseudonym"
        if column.blur and column.personal:
            yield (*at, "blur"), f"'{name}' is both personal and blurred", "leave one of them out"
        if name in data_set.contract.personal:
            for place, names in _unprotected(data_set).items():
                if names & set(data_set.contract.raw(name)):
                    what = f"'{name}' says something of a person, and {place} cannot be protected on landing"
                    yield at, what, "let the source deliver it as a column of its own"


def _unprotected(data_set: DataSet) -> dict[str, set[str]]:
    """Columns that do not come out of a column of the files: where they come from -> their bronze names."""
    source = data_set.source
    wide = {source.wide.entity, source.wide.value} if source.wide else set()
    groups = set(re.compile(source.file_name).groupindex) if source.file_name else set()
    return {
        "the names and values of wide columns": wide,
        "the names of files": groups,
        "constants": set(source.constants),
    }


def _rules(data_set: DataSet) -> Iterator[Slip]:
    contract = data_set.contract
    for number, rule in enumerate(data_set.clean.rules):
        at = ("clean", "rules", number, rule.kind)
        for name in rule.named:
            yield from _column(contract, name, at)
        if rule.then == "clip" and not isinstance(rule, Range):
            yield at, f"{rule.kind} has no bound to clip to", "clip is for range: write null or quarantine"
        if rule.then == "null":
            yield from _nullable(contract, rule, at)
        if isinstance(rule, SEQUENCE) and contract.time is None:
            yield at, f"{rule.kind} looks along time, and there is none", "add contract.time, or leave the rule out"
        wanted = _TYPES.get(rule.kind)
        for name in rule.named if wanted else []:
            if name in contract.kept and contract.column(name).type not in (wanted or ()):
                what = f"{rule.kind} is for {' or '.join(wanted or ())}, and '{name}' is {contract.column(name).type}"
                yield at, what, "name another column"
        if isinstance(rule, Known) and not rule.in_.startswith("data/"):
            yield (*at, "in"), f"'{rule.in_}' names no data set", f"write data/{rule.in_}"


_TYPES = {
    "range": ("float", "int"),
    "spike": ("float", "int"),
    "monotone": ("float", "int"),
    "one_of": ("text",),
    "matches": ("text",),
}


def _nullable(contract: Contract, rule: AnyRule, at: tuple[Hashable, ...]) -> Iterator[Slip]:
    if rule.kind == "relation":
        yield at, "relation does not say which value to empty", "write quarantine, drop or fail"
    for name in rule.named if rule.kind != "relation" else []:
        if name in contract.key or (name in contract.kept and contract.column(name).required):
            why = "is part of the key" if name in contract.key else "is required"
            yield (*at, "then"), f"'{name}' cannot be emptied: it {why}", "write quarantine, or change the column"


def _filters(data_set: DataSet) -> Iterator[Slip]:
    for number, item in enumerate(data_set.clean.filters):
        at = ("clean", "filters", number, item.kind)
        yield from _column(data_set.contract, item.of, at)
        if data_set.contract.column(item.of).type != "float":
            yield at, f"{item.kind} is for numbers, and '{item.of}' is none", "name a column of type float"
        if data_set.contract.time is None:
            yield at, f"{item.kind} looks along time, and there is none", "add contract.time"


def _steps(data_set: DataSet) -> Iterator[Slip]:
    clean = data_set.clean
    for key in ("gaps", "resample", "events"):
        if getattr(clean, key) and data_set.contract.time is None:
            yield ("clean", key), f"{key} needs steps of time, and there are none", "add contract.time"
    if isinstance(clean.resample, dict):
        for name, how in clean.resample.items():
            yield from _column(data_set.contract, name, ("clean", "resample", name))
            if how in ("mean", "sum", "median") and data_set.contract.column(name).type not in ("float", "int"):
                what = f"'{name}' has no {how}: it is {data_set.contract.column(name).type}"
                yield ("clean", "resample", name), what, "write first, last, min or max"


def _events(data_set: DataSet) -> Iterator[Slip]:
    events, contract = data_set.clean.events, data_set.contract
    if events is None:
        return
    if events.count in contract.kept:
        yield ("clean", "events", "count"), f"'{events.count}' is a column of the records", "choose another name"
    if events.grid:
        at: tuple[Hashable, ...] = ("clean", "events", "grid")
        for axis in ("x", "y"):
            yield from _column(contract, getattr(events.grid, axis).column, (*at, axis, "column"))
        if contract.entity != [events.grid.entity]:
            what = f"the key is {contract.key}, and the grid's cells are called '{events.grid.entity}'"
            yield (*at, "entity"), what, "make the cell the entity of the key"


def _place(data_set: DataSet) -> Iterator[Slip]:
    contract, place = data_set.contract, data_set.place
    for axis in ("x", "y", "area") if place else ():
        name = getattr(place, axis)
        if name is not None:
            yield from _column(contract, name, ("place", axis))
            if axis != "area" and contract.column(name).type not in ("float", "int"):
                yield ("place", axis), f"'{name}' is {contract.column(name).type}", "name a column of numbers"


def _column(contract: Contract, name: str, at: tuple[Hashable, ...]) -> Iterator[Slip]:
    if name not in contract.kept:
        near = difflib.get_close_matches(name, contract.kept, 1, 0.5)
        fix = f"did you mean '{near[0]}'?" if near else f"its columns: {', '.join(contract.kept)}"
        yield at, f"there is no column '{name}'", fix
