"""A task's Parquet file of predictions: tidy rows in row groups that a reader of one entity can skip."""

from __future__ import annotations

import json
import posixpath
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.fs import DeltaStorageHandler
from numpy.typing import NDArray
from pyarrow.fs import FileSystem, LocalFileSystem, PyFileSystem

from nightmill.clock import Clock
from nightmill.models.bundle import Predicted
from nightmill.score.table import FILE_SCHEMA

GROUP = 131_072
"""Rows of a row group: some 450 entities of a day of five minutes, or 37 with twelve steps ahead."""
PLAIN = ("value", "lo", "hi")
"""Columns whose values hardly repeat."""
VARY = ("entity", "ts", "horizon", "target_ts", *PLAIN)
"""Columns that are not the same in all rows, and that readers may skip row groups by."""
SOME = ("label", "score", "fallback")
"""Columns that only some predictions have."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """One file that a task wrote, not yet part of the table."""

    path: str
    size: int
    rows: int
    stats: str
    """Delta statistics as JSON."""


@dataclass(frozen=True)
class Facts:
    """What all rows of a scoring have in common."""

    target: str
    model_version: int
    feature_version: int
    run_id: str
    scored_at: datetime
    hindsight: bool


_SCHEMA = pa.schema(
    # text as dictionaries: the same type in the file, and no text is hashed row by row
    pa.field(f.name, pa.dictionary(pa.int32(), pa.string()) if f.type == pa.string() else f.type, f.name in SOME)
    for f in FILE_SCHEMA
)
"""What is written; columns that cannot be null take less time."""


class Writer:
    """Writes one file; `part()` tells of it once the context has ended.

    Nothing of it is visible before a commit names it. Its name is never used again, so tasks that Spark runs twice, and
    those of a run that was killed, do not meet.
    """

    def __init__(
        self,
        table_uri: str,
        day: date,
        number: int,
        facts: Facts,
        names: list[str],
        ahead: Ints,
        clock: Clock,
        labels: Sequence[str] = (),
        reasons: Sequence[str] = (),
    ) -> None:
        """`names` of entities; `ahead` [steps] and the series' clock say which times are predicted; `labels` and
        `reasons` are what those columns may hold, none where they stay empty."""
        self.path = posixpath.join(
            f"day={day.isoformat()}", f"part-{number:05d}-{facts.run_id}-{uuid.uuid4().hex[:8]}.parquet"
        )
        self._names, self._ahead, self._clock = pa.array(names, pa.string()), ahead, clock
        self._size = max(1, GROUP // len(ahead))
        self._facts, self._held = facts, 0
        self._entity, self._ts = np.empty(self._size, np.int32), np.empty(self._size, np.int64)
        wide = self._size, len(ahead)
        self._numbers = {name: np.empty(wide, np.float32) for name in (*PLAIN, *(["score"] if labels else []))}
        # columns of few texts: what they may hold, and which of them each row has
        self._texts = {"label": labels} if labels else {}
        self._texts |= {"fallback": reasons} if reasons else {}
        self._which = {name: np.empty(wide, np.int32) for name in self._texts}
        self._empty = dict.fromkeys(SOME, 0)
        self._same = _constants(facts, self._size, ahead)
        self._footers: list[Any] = []
        filesystem, place = _target(table_uri, self.path)
        self._sink = filesystem.open_output_stream(place)
        self._file = pq.ParquetWriter(
            self._sink,
            _SCHEMA,
            compression="snappy",  # zstd makes it a sixth smaller and takes half as long again
            use_dictionary=[name for name in FILE_SCHEMA.names if name not in PLAIN],
            write_statistics=list(VARY),
            write_page_index=True,
            store_schema=False,  # the dictionaries are this file's own affair
        )

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
            self._file.close()
            self.bytes = self._sink.tell()
        self._sink.close()

    def add(
        self,
        entity: Ints,
        ts: Ints,
        said: Predicted,
        marks: tuple[NDArray[np.int32], Floats] | None = None,
        reason: Ints | None = None,
    ) -> None:
        """Rows of origins: entity (position in `names`), even ts and reason (position in `reasons`) [n]; what is
        predicted and marks (label as position in `labels`, -1 for none, and score) [n, steps]."""
        numbers: dict[str, Floats] = {name: getattr(said, name) for name in PLAIN}
        which = dict[str, NDArray[Any]]()
        if marks is not None:
            which["label"], numbers["score"] = marks
        if reason is not None:
            which["fallback"] = reason[:, None]
        begin = 0
        while begin < len(entity):
            stop = min(len(entity), begin + self._size - self._held)
            into = slice(self._held, self._held + stop - begin)
            self._entity[into], self._ts[into] = entity[begin:stop], ts[begin:stop]
            for held, given in ((self._numbers, numbers), (self._which, which)):
                for name, found in given.items():
                    held[name][into] = found[begin:stop]
            begin, self._held = stop, into.stop
            if self._held == self._size:
                self._flush()

    def part(self) -> Part:
        """The file, as a commit needs it."""
        footer = self._file.writer.metadata
        return Part(self.path, self.bytes, footer.num_rows, _statistics(footer, self._facts, self._empty))

    def _flush(self) -> None:
        if not self._held:
            return
        steps, count = len(self._ahead), self._held * len(self._ahead)
        entity, ts = self._entity[: self._held], self._ts[: self._held]
        first = int(entity.min())
        names = self._names.slice(first, int(entity.max()) - first + 1)
        target_ts = self._clock.real((ts[:, None] + self._ahead * self._clock.every).ravel())
        found: dict[str, Any] = {
            "entity": pa.DictionaryArray.from_arrays(pa.array(np.repeat(entity - first, steps)), names),
            "ts": pa.array(np.repeat(self._clock.real(ts), steps)),
            "target_ts": pa.array(target_ts),
        }
        for name, values in self._numbers.items():
            flat = values[: self._held].ravel()
            found[name] = pa.array(flat, mask=np.isnan(flat) if name == "score" else None)
        for name, which in self._which.items():
            code = which[: self._held].ravel()
            texts = pa.array(list(self._texts[name]), pa.string())
            found[name] = pa.DictionaryArray.from_arrays(pa.array(code, mask=code < 0), texts)
        found |= {name: column.slice(0, count) for name, column in self._same.items() if name not in found}
        for name in SOME:
            self._empty[name] += found[name].null_count
        arrays = [found[field.name].view(field.type) for field in _SCHEMA]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), row_group_size=count)
        self._held = 0


def _constants(facts: Facts, origins: int, ahead: Ints) -> dict[str, pa.Array]:
    """Columns that do not depend on the prediction, as long as the longest row group."""
    count = origins * len(ahead)
    found: dict[str, pa.Array] = {"horizon": pa.array(np.tile(ahead, origins).astype(np.int32))}
    for field in _SCHEMA:
        if field.name in SOME:
            found[field.name] = pa.nulls(count, field.type)
        elif field.name not in VARY:
            value = getattr(facts, field.name)
            text = pa.types.is_dictionary(field.type)
            found[field.name] = (
                pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))
                if text
                else pa.repeat(pa.scalar(value, field.type), count)
            )
    return found


def _statistics(footer: pq.FileMetaData, facts: Facts, empty: dict[str, int]) -> str:
    """Delta statistics: of columns that vary those of the file, of others what they hold; `empty` counts nulls."""
    same = {name: value for name, value in vars(facts).items() if not isinstance(value, bool)}
    low, high = dict[str, Any](same), dict[str, Any](same)
    for group in range(footer.num_row_groups):
        columns = (footer.row_group(group).column(number) for number in range(footer.num_columns))
        for name, found in ((column.path_in_schema, column.statistics) for column in columns):
            if found is not None and found.has_min_max:
                low[name] = min(low.get(name, found.min), found.min)
                high[name] = max(high.get(name, found.max), found.max)
    nulls = dict.fromkeys(_SCHEMA.names, 0) | empty
    told = [{name: _plain(value) for name, value in ends.items()} for ends in (low, high)]
    return json.dumps({"numRecords": footer.num_rows, "minValues": told[0], "maxValues": told[1], "nullCount": nulls})


def _plain(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if hasattr(value, "strftime") else value


def _target(table_uri: str, path: str) -> tuple[FileSystem, str]:
    """Where the file goes; an object store's credentials come from the environment of this process."""
    if "://" in table_uri:
        return PyFileSystem(DeltaStorageHandler(table_uri)), path
    place = Path(table_uri) / path
    place.parent.mkdir(parents=True, exist_ok=True)
    return LocalFileSystem(), str(place)
