"""Types of Parquet files: numbers land in one width, and a file whose column is of another type is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from nightmill.config import DataSet
from nightmill.config.source import landed_name
from nightmill.errors import DataRefused
from nightmill.ingest.drop import RawFile, opened

NOTHING = "null"
"""Type of a column without a value: it does not land, and a later file may give it any type."""
Types = Mapping[str, str]
"""Column of bronze -> its type as Spark names it."""


def read_schema(file: RawFile) -> pa.Schema:
    """The schema in the file's footer; raises DataRefused where it is no Parquet file, or where Spark cannot read it.

    Times of the form INT96, which has no zone, are those of Spark and Hive, which mean UTC.
    """
    filesystem, path = opened(file)
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as opened_file:
            schema, columns = opened_file.schema_arrow, opened_file.schema
            old = {c.path for c in map(columns.column, range(len(columns))) if c.physical_type == "INT96"}
    except (pa.ArrowException, OSError) as error:
        raise DataRefused(f"not a readable Parquet file: {str(error).splitlines()[0]}", where=file.name) from None
    for field in schema:
        if pa.types.is_time(field.type) or pa.types.is_float16(field.type):
            what = f"column '{field.name}' is of type {field.type}, which Spark cannot read"
            raise DataRefused(what, where=file.name, fix="let the source write text, or whole numbers")
    return pa.schema([field.with_type(pa.timestamp("us", "UTC")) if field.name in old else field for field in schema])


def landed_types(data_set: DataSet, schema: pa.Schema) -> dict[str, str]:
    """Columns of a file and the types they land with."""
    return {(name := landed_name(field.name)): _landed(data_set, name, field.type) for field in schema}


def held_types(bronze: pa.Schema) -> dict[str, str]:
    """Columns of a bronze table and their types."""
    return {field.name: _spark_name(field.type) for field in bronze}


def usual_types(files: list[Types], held: Types) -> dict[str, str]:
    """The type of each column: bronze's own, or the one that most files have."""
    votes: dict[str, Counter[str]] = {}
    for types in files:
        for name, kind in types.items():
            votes.setdefault(name, Counter())[kind] += 1
    found = {}
    for name, count in votes.items():
        count.pop(NOTHING, None)  # a column without a value says nothing of its type
        found[name] = held.get(name) or (count.most_common(1)[0][0] if count else NOTHING)
    return found


def nanoseconds(layout_types: Iterable[str], columns: Iterable[str]) -> dict[str, bool]:
    """Columns of times in nanoseconds, which Spark reads as whole numbers -> whether they mean UTC."""
    return {name: "tz=" in kind for name, kind in zip(columns, layout_types) if kind.startswith("timestamp[ns")}


def other_type(types: Types, usual: Types) -> str | None:
    """Why a file cannot land beside the others, None where it can."""
    for name, kind in types.items():
        if kind not in (usual[name], NOTHING):
            return f"column '{name}' is of another type: {kind}, elsewhere {usual[name]}"
    return None


def _landed(data_set: DataSet, name: str, found: pa.DataType) -> str:
    """Publishers write the same number as int32 today and as double tomorrow: the contract decides."""
    contract, wide = data_set.contract.columns, data_set.source.wide
    column = contract.get(name) or (contract.get(wide.value) if wide and name not in data_set.contract.key else None)
    if pa.types.is_null(found):
        return NOTHING
    number = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
    if column and column.type == "float" and number:
        return "double"
    if pa.types.is_integer(found):
        return "bigint"
    return "double" if pa.types.is_floating(found) else _spark_name(found)


def _spark_name(found: pa.DataType) -> str:
    if pa.types.is_dictionary(found):
        return _spark_name(found.value_type)
    if pa.types.is_nested(found):
        return "nested"
    if pa.types.is_binary(found) or pa.types.is_large_binary(found) or pa.types.is_binary_view(found):
        return "binary"
    if pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found):
        return "string"
    if pa.types.is_timestamp(found):
        return "timestamp" if found.tz else "timestamp_ntz"
    names = {pa.int64(): "bigint", pa.float64(): "double", pa.bool_(): "boolean", pa.date32(): "date"}
    return names.get(found, str(found))
