"""A share's rows: in memory where they fit into the budget, else in the cache."""

from __future__ import annotations

import hashlib
import json
import mmap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from nightmill.handoff.cache import Cache, Mapped, boot
from nightmill.handoff.columns import Field, Values, array_field, is_bytes, numbers
from nightmill.handoff.files import Storage
from nightmill.handoff.gold import Pinned
from nightmill.handoff.index import Index
from nightmill.handoff.layout import Layout
from nightmill.handoff.matrix import READERS, fill


@dataclass
class Rows:
    """Arrays [rows, width] of fields."""

    fields: list[Field]
    arrays: dict[str, Values]
    rows_read: int
    """Rows that were decoded for them now; 0 where the cache had them."""
    mapped: Mapped | None = None
    share: int = 0
    """Bytes that pages in use may take."""
    _before: int = 0

    def used(self) -> None:
        """Told that rows were read: pages in use are handed back once they take more than their share."""
        if self.mapped is not None and mapped_bytes() - self._before >= self.share:
            self.mapped.release()
            self._before = mapped_bytes()


def hold(
    gold: Pinned,
    index: Index,
    layout: Layout,
    fields: Sequence[Field],
    memory: int | None,
    cache: Cache | None,
    readers: int = READERS,
) -> Rows:
    """The rows of a layout. Raises what `fill` and `Cache.fetch` raise."""
    rows = Rows(list(fields), {}, 0)
    if memory is None or layout.rows * row_bytes(fields) <= memory:
        rows.arrays = {field.name: np.empty((layout.rows, field.width), field.dtype) for field in fields}
        rows.rows_read = fill(gold, index, layout, fields, rows.arrays, readers)
        return rows

    def make(arrays: dict[str, Values], release: Callable[[], None]) -> None:
        rows.rows_read = fill(gold, index, layout, fields, arrays, readers, release)

    found = (cache or Cache.at()).fetch(_key(gold, layout, fields), fields, layout.rows, make)
    pa.default_memory_pool().release_unused()  # what decoding took is not kept beside the budget
    rows.arrays, rows.mapped, rows.share, rows._before = found.arrays, found, memory // 3, mapped_bytes()
    return rows


def row_bytes(fields: Sequence[Field]) -> int:
    """Bytes of one row of some fields."""
    return sum(field.row_bytes for field in fields)


def mapped_bytes() -> int:
    """Memory of this process that holds files; 0 where the system does not say: there it decides what stays."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0


def _key(gold: Pinned, layout: Layout, fields: Sequence[Field]) -> str:
    """Equal for equal rows in equal places, on this machine since it was started."""
    digest = hashlib.sha256(json.dumps([gold.to_json(), [repr(field) for field in fields], boot()]).encode())
    spans, copies = layout.spans, layout.copies
    digest.update(json.dumps([layout.blank, layout.rows, layout.repeat]).encode())
    for array in (spans.row, spans.length, spans.before, spans.after, *vars(copies).values()):
        digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    return digest.hexdigest()[:32]


def seen_field(gold: Pinned, features: Sequence[str]) -> Field:
    """What windows are made of: columns of numbers, or the bytes of a single column of arrays."""
    file = next((file for file in gold.files if sum(file.groups)), None)
    if len(features) == 1 and file is not None:
        schema = Storage(gold.uri, gold.storage_options).open(file).schema_arrow
        place = schema.get_field_index(features[0])
        if place >= 0 and is_bytes(schema.field(place).type):
            return replace(array_fields(gold, features)[0], name="x")
    return numbers("x", features)


def array_fields(gold: Pinned, names: Sequence[str]) -> list[Field]:
    """The fields of columns of images or waveforms; their first values tell the size. Raises DataRefused."""
    file = next((file for file in gold.files if sum(file.groups)), None)
    if not names or file is None:
        return []
    storage = Storage(gold.uri, gold.storage_options)
    parquet: pq.ParquetFile = storage.open(file)
    group = next(number for number, rows in enumerate(file.groups) if rows)
    _, first = next(storage.pieces(parquet, file.path, group, names, many=1))
    where = storage.where(file.path)
    return [array_field(name, first.column(first.schema.get_field_index(name)), where) for name in names]


def sliding(rows: Values, length: int) -> Tensor:
    """Each stretch of `length` rows as one row of a view [rows - length + 1, length * width]."""
    count, width = rows.shape
    return tensor(rows).as_strided((max(count - length + 1, 0), length * width), (width, 1))


def tensor(values: Values) -> Tensor:
    """A tensor over the same memory, be it Arrow's or the cache's: to be read only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(values)
