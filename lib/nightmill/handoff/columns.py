"""What of a row goes to the model: fields of fixed size, and how Arrow's columns become them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightmill.errors import DataRefused

Values = NDArray[Any]
MUST_BE_FINITE = "silver and features must be finite: give the column a range in the data set, or fix the feature"
"""What to do about infinite values."""
UNKNOWN = 0
"""Code of a category that the vocabulary does not hold, and of a missing one."""


@dataclass(frozen=True)
class Field:
    """An array [rows, width] that is filled from one or more columns."""

    name: str
    columns: tuple[str, ...]
    """One each for numbers and codes; a single one that holds `width` values a row for arrays."""
    dtype: str = "float32"
    width: int = 1
    blank: float = 0.0
    """What rows hold that no file has."""
    vocabularies: tuple[tuple[str, ...], ...] = ()
    """Of codes: the categories of each column; the code is the position + 1."""
    array: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return np.dtype(self.dtype).itemsize * self.width

    def read(self, batch: pa.RecordBatch, where: str) -> list[Values]:
        """The field's columns: [rows] each, or one [rows, width] of an array. Raises DataRefused."""
        found = [batch.column(batch.schema.get_field_index(name)) for name in self.columns]
        if self.array:
            return [fixed(found[0], self, where)]
        if self.vocabularies:
            return [
                codes(column, words, name, where)
                for column, words, name in zip(found, self.vocabularies, self.columns, strict=True)
            ]
        return [floats(column, name, where) for column, name in zip(found, self.columns, strict=True)]


def numbers(name: str, columns: Sequence[str], blank: float = 0.0) -> Field:
    """A field of float32 numbers, NaN where a value is missing."""
    return Field(name, tuple(columns), width=len(columns), blank=blank)


def categories(name: str, vocabularies: Mapping[str, Sequence[str]]) -> Field:
    """A field of codes, from 1 on in the order of each column's vocabulary, 0 for what is not in it."""
    words = tuple(tuple(map(str, of)) for of in vocabularies.values())
    return Field(name, tuple(vocabularies), "int32", len(vocabularies), vocabularies=words)


def array_field(name: str, first: pa.Array, where: str) -> Field:
    """The field of a column of images or waveforms; `first` are its first values, which tell the size."""
    kind = first.type
    if is_bytes(kind):
        dtype = "uint8"
    elif _is_list(kind) and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        dtype = np.dtype(kind.value_type.to_pandas_dtype()).name
    else:
        fix = "images are bytes, waveforms lists of numbers: rebuild the table with the features command"
        raise DataRefused(f"column '{name}' is {kind}, no array of fixed size", where=where, fix=fix)
    size = len(first[0].as_py() or ()) if len(first) else 0
    if not size:
        raise DataRefused(f"the first value of column '{name}' is empty", where=where, fix="clean the data set again")
    return Field(f"array {name}", (name,), dtype, size, array=True)  # the name of no other field


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values are bytes of any layout."""
    return pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def floats(column: pa.Array, name: str, where: str) -> Values:
    """A column as float32, nulls as NaN; without copying where it is float32 without nulls already."""
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        fix = "features are numbers: rebuild the table with the features command"
        raise DataRefused(f"column '{name}' is {kind}, not a number", where=where, fix=fix)
    if kind != pa.float32():
        column = column.cast(pa.float32(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(float("nan"), pa.float32()))
    return column.to_numpy(zero_copy_only=False)


def codes(column: pa.Array, words: Sequence[str], name: str, where: str) -> Values:
    """A column of text as int32 codes: 1 for the first word, 0 for what is none of them."""
    if not (pa.types.is_dictionary(column.type) or is_text(column.type)):
        fix = "categories are text: name the column among the features, or rebuild the table"
        raise DataRefused(f"column '{name}' is {column.type}, not text", where=where, fix=fix)
    encoded = column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
    places = pc.index_in(encoded.dictionary.cast(pa.string()), pa.array(words, pa.string()))
    of_word = pc.add(pc.fill_null(places, UNKNOWN - 1), 1).to_numpy(zero_copy_only=False).astype(np.int32)
    indices = pc.fill_null(encoded.indices, len(of_word)).to_numpy(zero_copy_only=False)
    return np.append(of_word, np.int32(UNKNOWN))[indices]


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text of any layout."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def fixed(column: pa.Array, field: Field, where: str) -> Values:
    """[rows, width] values of a column of images or waveforms: Arrow's own memory. Raises DataRefused."""
    if column.null_count:
        what = f"column '{field.columns[0]}' has {column.null_count} missing values, and arrays cannot be missing"
        raise DataRefused(what, where=where, fix="refuse such records in the data set: rules: [{kind: required}]")
    if pa.types.is_fixed_size_binary(column.type) or pa.types.is_fixed_size_list(column.type):
        sizes = {column.type.byte_width if pa.types.is_fixed_size_binary(column.type) else column.type.list_size}
    else:
        wide = pa.types.is_large_binary(column.type) or pa.types.is_large_list(column.type)
        kind = np.int64 if wide else np.int32
        offsets = np.frombuffer(column.buffers()[1], kind, len(column) + 1, column.offset * np.dtype(kind).itemsize)
        sizes = set(np.unique(np.diff(offsets)).tolist())
    if sizes - {field.width}:
        what = f"values of column '{field.columns[0]}' have {sorted(sizes)} entries where the first has {field.width}"
        raise DataRefused(what, where=where, fix="resize images or cut waveforms where they are landed")
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        start = int(offsets[0]) if len(column) else 0
        flat = np.frombuffer(column.buffers()[2], np.uint8, len(column) * field.width, start)
    elif pa.types.is_fixed_size_binary(column.type):
        flat = np.frombuffer(column.buffers()[1], np.uint8, len(column) * field.width, column.offset * field.width)
    else:
        values = column.flatten()
        if values.null_count:
            what = f"column '{field.columns[0]}' has {values.null_count} missing entries inside its arrays"
            raise DataRefused(what, where=where, fix="fill or refuse them where they are landed")
        flat = values.to_numpy(zero_copy_only=True)
    return flat.reshape(len(column), field.width)
