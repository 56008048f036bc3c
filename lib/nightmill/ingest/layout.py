"""Which columns a file has, and whether the contract can live with them."""

from __future__ import annotations

import csv
import difflib
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from nightmill.config import DataSet
from nightmill.config.source import landed_name, landed_place
from nightmill.errors import DataRefused
from nightmill.ingest import documents, parsers
from nightmill.ingest.drop import RawFile, first_line, name_groups
from nightmill.ingest.parquet import Types, landed_types, other_type, read_schema, usual_types
from nightmill.spark import Start


@dataclass(frozen=True)
class Layout:
    """What files must share to be read together."""

    columns: tuple[str, ...]
    """Names with which they land, in the file's order."""
    written: tuple[str, ...] = ()
    """What their publisher wrote: the keys of json, the types of Parquet."""
    landed: tuple[str, ...] = ()
    """Types with which typed columns land."""

    @property
    def landed_types(self) -> dict[str, str]:
        """The same by column; empty for text, which lands as text."""
        return dict(zip(self.columns, self.landed))


Groups = dict[Layout, list[RawFile]]


class Refusal(NamedTuple):
    """Why a whole file is refused."""

    rule: str
    """unreadable_file or schema."""
    reason: str


def layouts(start: Start, data_set: DataSet, files: list[RawFile], held: Types) -> tuple[Groups, dict[str, Refusal]]:
    """Files grouped by their layout, and the reason for each file that cannot land; `held` are bronze's columns."""
    bad: dict[str, Refusal] = {}
    found: dict[str, tuple[RawFile, Layout]] = {}
    readable = [file for file in files if not file.damaged] if data_set.source.format == "json" else []
    keys = documents.keys(start(), data_set, readable) if readable else {}
    for file in files:
        try:
            layout = _layout(data_set, file, keys.get(file.name, ()))
        except DataRefused as error:
            bad[file.name] = Refusal("unreadable_file", error.what)
            continue
        if not layout.columns:
            continue  # without records
        if why := misfit(data_set, layout.columns, file, held):
            bad[file.name] = Refusal("schema", why)
        else:
            found[file.name] = file, layout
    usual = usual_types([layout.landed_types for _, layout in found.values()], held)
    groups: Groups = defaultdict(list)
    for file, layout in found.values():
        if why := other_type(layout.landed_types, usual):
            bad[file.name] = Refusal("schema", why)
        else:
            groups[layout].append(file)
    return groups, bad


def misfit(data_set: DataSet, columns: tuple[str, ...], file: RawFile, held: Types) -> str | None:
    """Why columns do not fit the contract, and what to change; None where they do."""
    source = data_set.source
    given = {*columns, *source.constants, *([source.row_number] if source.row_number else [])}
    if source.file_name:
        groups = name_groups(source.file_name, file.name)
        if groups is None:
            return f"the file's name does not match {source.file_name}"
        given |= groups.keys()
    if source.wide:
        given |= {source.wide.entity, source.wide.value, *([source.wide.position] if source.wide.position else [])}
    wanted = {landed_name(raw) for names in data_set.recorded.values() for raw in names}
    for name, raws in sorted(data_set.recorded.items(), key=lambda item: item[1]):
        if not any(landed_place(raw, given, source.format) for raw in raws):
            # a column that was renamed is one of those that nobody expected
            strange = [c for c in columns if c not in wanted and c not in held] or [
                c for c in columns if c not in wanted
            ]
            near = [c for c in columns if c.lower() == raws[0].lower()]
            near = near or difflib.get_close_matches(raws[0], strange, 1, 0.6) or (strange if len(strange) == 1 else [])
            if near:
                return (
                    f"column '{raws[0]}' is missing; it has '{near[0]}': "
                    f"if it is the same, write from: [{raws[0]}, {near[0]}]"
                )
            others = f"; the file has {', '.join(strange[:10])}, which nobody expected" if strange else ""
            needed = name not in data_set.contract.columns or name in data_set.contract.key
            fix = "the key and the time are in every record" if needed else "if files may lack it, write optional: true"
            return f"column '{raws[0]}' is missing{others}; {fix}"
    if source.new_columns == "refuse" and held and not source.wide:
        named = [raw for name in data_set.kept for raw in data_set.contract.raw(name)]
        known = {landed_name(raw) for raw in named} | {raw.split(".")[0] for raw in named}
        for column in columns:
            if column not in held and column not in known:
                return (
                    f"column '{column}' is new: declare it in contract.columns (optional: true, for the files before), "
                    "or set source.new_columns: land"
                )
    return None


def _layout(data_set: DataSet, file: RawFile, keys: tuple[str, ...] | None) -> Layout:
    source = data_set.source
    if file.damaged:
        raise DataRefused(file.damaged, where=file.name)
    if source.format == "parquet":
        schema = read_schema(file)
        landed = landed_types(data_set, schema)
        return Layout(tuple(landed), tuple(str(field.type) for field in schema), tuple(landed.values()))
    if source.format == "json":
        if keys is None:
            place = f" in a list at '{source.records}'" if source.records else ", one a line"
            raise DataRefused(f"not JSON with objects{place}", where=file.name)
        return Layout(tuple(map(landed_name, keys)), keys)
    if source.parser is not None:
        return Layout(tuple(parsers.columns(source.parser).names))
    fields = _split(first_line(file, source.encoding), source.separator)
    if not any(field.strip() for field in fields):
        return Layout(())
    if source.header:
        names = [landed_name(field) for field in fields]
        lower = [name.lower() for name in names]  # tables know names in any case
        doubled = sorted({n for n in names if lower.count(n.lower()) > 1 or not n})
        if doubled:
            raise DataRefused(f"header names column '{doubled[0]}' twice or not at all", where=file.name)
        return Layout(tuple(names))
    if source.columns is None:
        return Layout(tuple(str(position) for position in range(1, len(fields) + 1)))
    if len(fields) != len(source.columns):
        raise DataRefused(
            f"the first record has {len(fields)} fields, the data set names {len(source.columns)} columns",
            where=file.name,
        )
    return Layout(tuple(source.columns))


def _split(line: str, separator: str) -> list[str]:
    if separator == "whitespace":
        return line.split()
    return next(csv.reader([line], delimiter=separator), [])
