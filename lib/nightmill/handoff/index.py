"""Where each entity's rows lie: the files' rows put into one logical order, by entity and time, without moving them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightmill.clock import Clock
from nightmill.errors import DataRefused
from nightmill.handoff.columns import is_text
from nightmill.handoff.files import Storage
from nightmill.handoff.gold import Pinned

Ints = NDArray[np.int64]
SCAN_THREADS = 4
SMALL_FILE = 4096
"""Rows: of a local file that has fewer, Python's own work is most, which threads only hinder."""


@dataclass(frozen=True)
class Runs:
    """Rows of one entity exactly `every` apart, one array item per run, in logical order."""

    entity: Ints
    """Position in the index' entities."""
    first: Ints
    """Logical row of the run's first row."""
    length: Ints
    """Rows."""
    ts: Ints
    """Even time of the first row, µs; see `nightmill.clock.Clock`."""


@dataclass(frozen=True)
class Segments:
    """Consecutive logical rows that are consecutive in one row group, in logical order."""

    first: Ints
    """Logical row of the segment's first row."""
    length: Ints
    """Rows."""
    file: Ints
    """Position in the pinned files."""
    group: Ints
    """Row group of that file."""
    row: Ints
    """Row of that row group."""


@dataclass(frozen=True)
class Index:
    """The rows of a pinned table in logical order: sorted by (entity, ts) over all files."""

    entities: list[str]
    """Sorted names."""
    runs: Runs
    segments: Segments
    every_us: int
    """Step between the rows of a run, µs."""
    rows: int
    """Rows in all."""
    source: str
    """Table and version, for messages."""
    zone: str = "UTC"
    """Time zone of steps that are days or months."""

    @property
    def clock(self) -> Clock:
        """From the table's times to those of runs, and back."""
        return Clock(self.every_us, self.zone)

    @property
    def span(self) -> tuple[int, int]:
        """Even times of the first and of the last row, µs."""
        return int(self.runs.ts.min()), int((self.runs.ts + (self.runs.length - 1) * self.every_us).max())


@dataclass
class _Pieces:
    """Pieces of runs as they lie in the files: one array item each."""

    entity: Any
    ts: Ints
    length: Ints
    file: Ints
    group: Ints
    row: Ints

    def take(self, chosen: NDArray[Any]) -> _Pieces:
        return replace(self, **{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


def build_index(gold: Pinned, every: timedelta, zone: str = "UTC") -> Index:
    """Reads `entity` and `ts` of every row group and nothing else; a run ends where the step to the next row differs.

    Steps of days are local ones of the zone, and `Months` are those of its calendar. Raises DataRefused, naming entity
    and time, where a file is not sorted by (entity, ts) or a row occurs twice.
    """
    clock = Clock.of(every, zone)
    every_us = clock.every
    if every_us < 1:
        raise ValueError(f"the step between rows must be longer than {every}")
    storage = Storage(gold.uri, gold.storage_options)
    source = f"{gold.uri} version {gold.version}"
    small = storage.local and gold.rows < SMALL_FILE * len(gold.files)
    most = (os.cpu_count() or 1) if storage.local else SCAN_THREADS  # a store is waited for
    with ThreadPoolExecutor(1 if small else min(most, SCAN_THREADS)) as pool:
        scans = pool.map(lambda number: _scan_file(storage, gold, number, clock), range(len(gold.files)))
        found = [piece for scan in scans for piece in scan]
    pa.default_memory_pool().release_unused()  # what was read is many times what is kept
    if not found:
        raise DataRefused("the table holds no rows", where=source, fix="run the features command for some day")
    entities, pieces = _coded(found)
    pieces = pieces.take(np.lexsort((pieces.ts, pieces.entity)))
    pieces = _untangled(pieces, every_us)
    _refuse_doubled(pieces, entities, source)
    first = _starts(pieces.length)
    new = np.ones(len(first), bool)
    new[1:] = (np.diff(pieces.entity) != 0) | (pieces.ts[1:] != (pieces.ts + pieces.length * every_us)[:-1])
    begin = np.flatnonzero(new)
    rows = int(pieces.length.sum())
    runs = Runs(pieces.entity[begin], first[begin], np.diff(first[begin], append=rows), pieces.ts[begin])
    segments = Segments(first, pieces.length, pieces.file, pieces.group, pieces.row)
    return Index(entities, runs, segments, every_us, rows, source, zone)


def _scan_file(storage: Storage, gold: Pinned, number: int, clock: Clock) -> list[_Pieces]:
    pinned = gold.files[number]
    path, file = pinned.path, storage.open(pinned, ["entity"])
    before, scanned = None, []
    for group in (group for group, rows in enumerate(pinned.groups) if rows):
        for first, rows in storage.pieces(file, path, group, ["entity", "ts"]):
            names, codes, ts = _columns(rows, storage.where(path))
            ts = clock.even(ts)
            starts = _piece_starts(names, codes, ts, before, clock.every, storage.where(path))
            before = names[int(codes[-1])].as_py(), int(ts[-1])
            length = np.diff(starts, append=len(ts))
            numbers = np.full(len(starts), number), np.full(len(starts), group)
            entity = pa.DictionaryArray.from_arrays(pa.array(codes[starts]), names)
            scanned.append(_Pieces(entity, ts[starts], length, numbers[0], numbers[1], first + starts))
    return scanned


def _columns(table: pa.RecordBatch, where: str) -> tuple[pa.Array, NDArray[np.int32], Ints]:
    """Entity names, the code of each row's entity, and its time in µs."""
    for name in ("entity", "ts"):
        if nulls := table.column(name).null_count:
            raise DataRefused(f"{nulls} rows have no {name}", where=where, fix="rebuild with the features command")
    entity, ts = table.column("entity"), table.column("ts")
    if is_text(entity.type):
        entity = entity.cast(pa.string()).dictionary_encode()
    if not pa.types.is_dictionary(entity.type) or not pa.types.is_timestamp(ts.type):
        what = f"entity must be text and ts a timestamp, not {entity.type} and {ts.type}"
        raise DataRefused(what, where=where, fix="rebuild with the features command")
    try:
        micros = ts.cast(pa.timestamp("us", ts.type.tz)).cast(pa.int64())
    except pa.ArrowInvalid:
        fix = "write ts in microseconds: rebuild with the features command"
        raise DataRefused("times in ts lie between microseconds", where=where, fix=fix) from None
    return entity.dictionary.cast(pa.string()), entity.indices.to_numpy(), micros.to_numpy()


def _piece_starts(
    names: pa.Array, codes: NDArray[np.int32], ts: Ints, before: tuple[str, int] | None, every_us: int, where: str
) -> Ints:
    """Rows where another entity begins or the step is not `every`; `before` is the row before these."""
    same, step = codes[1:] == codes[:-1], np.diff(ts)
    turns = np.flatnonzero(~same)
    falls = pc.greater(names.take(pa.array(codes[turns])), names.take(pa.array(codes[turns + 1])))
    wrong = [*np.flatnonzero(same & (step <= 0))[:1], *turns[np.asarray(falls, dtype=bool)][:1]]
    here, now = names[int(codes[0])].as_py(), int(ts[0])
    if before is not None and (here, now) <= before:
        _refuse_order(here, now, before == (here, now), where)
    if wrong:
        row = int(min(wrong))
        name, time = names[int(codes[row + 1])].as_py(), int(ts[row + 1])
        _refuse_order(name, time, bool(same[row]) and int(step[row]) == 0, where)
    return np.concatenate([[0], np.flatnonzero(~same | (step != every_us)) + 1]).astype(np.int64)


def _refuse_order(entity: str, ts: int, doubled: bool, where: str) -> None:
    if doubled:
        fix = "silver promises one row per key: rebuild these days with the features command"
        raise DataRefused(f"entity '{entity}' has two rows at {show_time(ts)}", where=where, fix=fix)
    fix = "sort each file by (entity, ts): rebuild with the features command"
    raise DataRefused(f"rows are not sorted: entity '{entity}' at {show_time(ts)} comes too late", where=where, fix=fix)


def _coded(found: Sequence[_Pieces]) -> tuple[list[str], _Pieces]:
    """All pieces in one table, the entity as position in the sorted names."""
    column = pa.chunked_array([piece.entity for piece in found]).unify_dictionaries().combine_chunks()
    by_name = pc.sort_indices(column.dictionary)
    position = np.empty(len(by_name), np.int64)
    position[by_name.to_numpy()] = np.arange(len(by_name))
    rest = [np.concatenate([getattr(p, name) for p in found]) for name in ("ts", "length", "file", "group", "row")]
    return column.dictionary.take(by_name).to_pylist(), _Pieces(position[column.indices.to_numpy()], *rest)


def _untangled(pieces: _Pieces, every_us: int) -> _Pieces:
    """Where pieces of an entity overlap in time, as when two files take turns, its pieces are cut into rows."""
    last = pieces.ts + (pieces.length - 1) * every_us
    overlap = (np.diff(pieces.entity) == 0) & (pieces.ts[1:] <= last[:-1])
    if not overlap.any():
        return pieces
    tangled = np.isin(pieces.entity, pieces.entity[1:][overlap])
    copies = np.where(tangled, pieces.length, 1)
    rows = pieces.take(np.repeat(np.arange(len(copies)), copies))
    offset = np.arange(len(rows.ts)) - np.repeat(_starts(copies), copies)
    cut = np.repeat(tangled, copies)
    rows.ts, rows.row, rows.length = rows.ts + offset * every_us, rows.row + offset, np.where(cut, 1, rows.length)
    return rows.take(np.lexsort((rows.ts, rows.entity)))


def _refuse_doubled(pieces: _Pieces, entities: Sequence[str], source: str) -> None:
    doubled = np.flatnonzero((np.diff(pieces.entity) == 0) & (np.diff(pieces.ts) == 0))
    if len(doubled):
        first = doubled[0]
        _refuse_order(entities[pieces.entity[first]], int(pieces.ts[first]), True, source)


def _starts(lengths: Ints) -> Ints:
    return np.cumsum(lengths) - lengths


def show_time(micros: int) -> str:
    """µs UTC as people read it."""
    return str(np.datetime64(micros // 1_000_000, "s")).replace("T", " ") + " UTC"
