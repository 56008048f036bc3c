from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nightmill.errors import DataRefused
from nightmill.handoff.columns import array_field, categories, numbers


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def test_numbers_of_all_kinds_are_float32_and_missing_ones_nan():
    rows = batch(a=pa.array([1, None], pa.int64()), b=pa.array([True, False]), c=pa.array([0.5, None]))
    found = numbers("x", ["c", "a", "b"]).read(rows, "here")
    assert [column.dtype for column in found] == [np.float32] * 3
    assert [np.nan_to_num(column, nan=-1).tolist() for column in found] == [[0.5, -1], [1, -1], [1, 0]]


def test_float32_without_nulls_is_not_copied():
    rows = batch(a=pa.array(np.arange(5, dtype=np.float32)))
    (found,) = numbers("x", ["a"]).read(rows, "here")
    assert found.__array_interface__["data"][0] == rows.column(0).buffers()[1].address


@pytest.mark.parametrize("encoded", [False, True])
def test_codes_count_from_1_in_the_order_of_the_vocabulary_and_0_is_unknown(encoded):
    column = pa.array(["b", None, "new", "a", "b"])
    column = column.dictionary_encode() if encoded else column
    field = categories("codes", {"kind": ["a", "b"], "again": ["b"]})
    found = field.read(batch(kind=column, again=column), "here")
    assert [codes.tolist() for codes in found] == [[2, 0, 0, 1, 2], [1, 0, 0, 0, 1]]
    assert {codes.dtype for codes in found} == {np.dtype(np.int32)}


IMAGES = [bytes([n, n + 1, n + 2]) for n in range(4)]
WAVES = [[0.5, n, -n] for n in range(4)]


@pytest.mark.parametrize(
    ("kind", "values", "dtype"),
    [
        (pa.binary(), IMAGES, "uint8"),
        (pa.large_binary(), IMAGES, "uint8"),
        (pa.binary(3), IMAGES, "uint8"),
        (pa.list_(pa.float32()), WAVES, "float32"),
        (pa.large_list(pa.float64()), WAVES, "float64"),
        (pa.list_(pa.float32(), 3), WAVES, "float32"),
    ],
)
def test_arrays_of_one_size_are_arrows_own_memory(kind, values, dtype):
    rows = batch(image=pa.array(values, kind)).slice(1)
    field = array_field("image", rows.column(0), "here")
    assert (field.width, field.dtype, field.row_bytes) == (3, dtype, 3 * np.dtype(dtype).itemsize)
    (found,) = field.read(rows, "here")
    assert found.tolist() == [list(value) for value in values[1:]]
    memory = rows.column(0).buffers()[-1]
    assert memory.address <= found.__array_interface__["data"][0] < memory.address + memory.size


def test_arrays_of_several_sizes_are_refused_naming_them():
    rows = batch(image=pa.array([b"abc", b"abcd"]))
    field = array_field("image", rows.column(0), "here")
    with pytest.raises(DataRefused, match=r"'image' have \[3, 4\] entries where the first has 3") as refused:
        field.read(rows, "here")
    assert refused.value.where == "here"


@pytest.mark.parametrize(
    ("values", "what"),
    [([b"abc", None], "1 missing values"), ([[1.0, 2.0], [1.0, None]], "1 missing entries inside")],
)
def test_missing_arrays_are_refused(values, what):
    rows = batch(image=values)
    field = array_field("image", rows.column(0), "here")
    with pytest.raises(DataRefused, match=what):
        field.read(rows, "here")


@pytest.mark.parametrize(
    ("values", "what"), [([1.0], "is double, no array"), ([b""], "is empty"), ([["a"]], "no array")]
)
def test_what_is_no_array_is_refused(values, what):
    rows = batch(image=values)
    with pytest.raises(DataRefused, match=what):
        array_field("image", rows.column(0), "here")


def test_text_is_no_number_and_numbers_are_no_categories():
    with pytest.raises(DataRefused, match="column 'a' is string, not a number"):
        numbers("x", ["a"]).read(batch(a=["1"]), "here")
    with pytest.raises(DataRefused, match="column 'a' is int64, not text"):
        categories("codes", {"a": ["1"]}).read(batch(a=[1]), "here")
