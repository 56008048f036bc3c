"""Files that a parser reads: Spark hands each file's bytes to a Python process, which gives back Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nightmill.config.values import Options
from nightmill.ingest import parsers
from nightmill.ingest.drop import RawFile, file_uri

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

UNREADABLE = "_unreadable"
"""Column that says why a file's content could not be read; null in records."""
_ROWS = 512
_SPARK = {pa.string(): "string", pa.int64(): "bigint", pa.float64(): "double", pa.binary(): "binary"}


def read(spark: SparkSession, options: Options, names: dict[str, str], files: list[RawFile]) -> DataFrame:
    """Records of the files with `_path` and `_unreadable`; `names` are the files' names by URI."""
    columns = parsers.columns(options)
    schema = columns.append(pa.field("_path", pa.string())).append(pa.field(UNREADABLE, pa.string()))
    spelt = ", ".join(f"`{field.name}` {_SPARK[field.type]}" for field in schema)
    whole = spark.read.format("binaryFile").load([file.uri for file in files])
    return whole.select(file_uri("path").alias("path"), "content").mapInArrow(_Parsed(options, names, schema), spelt)


class _Parsed:
    """What runs in the Python processes."""

    def __init__(self, options: Options, names: dict[str, str], schema: pa.Schema) -> None:
        self._options, self._names, self._schema = options, names, schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[dict[str, Any]] = []
        for batch in batches:
            for uri, content in zip(batch["path"], batch["content"]):
                for record in self._records(uri.as_py(), content.as_py()):
                    waiting.append(record)
                    if len(waiting) >= _ROWS:
                        yield pa.RecordBatch.from_pylist(waiting, self._schema)
                        waiting = []
        if waiting:
            yield pa.RecordBatch.from_pylist(waiting, self._schema)

    def _records(self, uri: str, content: bytes) -> Iterator[dict[str, Any]]:
        # a file counts whole or not at all: its records wait until the last one was read
        try:
            records = list(parsers.parse(self._options)(self._names[uri], content, self._options))
        except ValueError as error:
            yield {"_path": uri, UNREADABLE: str(error)}
            return
        for record in records:
            record["_path"] = uri
        yield from records
