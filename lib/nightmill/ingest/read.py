"""One drop as a Spark frame: the source's own columns, text as text, headers matched by name."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType
from pyspark.sql.window import Window

from nightmill.config import DataSet
from nightmill.config.source import landed_name
from nightmill.ingest import documents, parse
from nightmill.ingest.drop import RawFile, decoded, file_uri
from nightmill.ingest.layout import Groups, Layout
from nightmill.ingest.parquet import NOTHING, nanoseconds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

CORRUPT = "_corrupt"
"""Text of a record that has more or fewer fields than its header, or is no JSON object."""


def frame(spark: SparkSession, data_set: DataSet, groups: Groups) -> DataFrame:
    """All records of the files, with `_path`, `_corrupt` (text) and the columns that numbers and constants give."""
    parts = [_read(spark, data_set, layout, files) for layout, files in groups.items()]
    rows = union(parts)
    for name, text in data_set.source.constants.items():
        rows = rows.withColumn(name, F.lit(text))
    return rows


def union(parts: list[DataFrame]) -> DataFrame:
    """All rows of several frames; what a frame lacks is null."""
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)


def no_records(spark: SparkSession, data_set: DataSet) -> DataFrame:
    """What `frame` returns for files without records, and without names of columns."""
    numbers = {"float": "double", "int": "bigint"} if data_set.source.format == "parquet" else {}
    types = {
        raws[0].split(".")[0] if data_set.source.format == "json" else landed_name(raws[0]): numbers.get(
            data_set.contract.column(name).type, "string"
        )
        for name, raws in sorted(data_set.recorded.items())
    }
    columns = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
    return spark.createDataFrame([], f"{columns}, _path string")


def _read(spark: SparkSession, data_set: DataSet, layout: Layout, files: list[RawFile]) -> DataFrame:
    source, paths, columns = data_set.source, [file.uri for file in files], list(layout.columns)
    if source.format == "json":
        return documents.read(spark, data_set, layout.written, columns, files)
    if source.parser is not None:
        return parse.read(spark, source.parser, {file.uri: file.name for file in files}, files)
    if source.format == "parquet":
        read = spark.read.parquet(*paths).toDF(*columns)
        numbers = {name: kind for name, kind in layout.landed_types.items() if kind in ("bigint", "double")}
        read = read.withColumns({name: F.col(f"`{name}`").cast(kind) for name, kind in numbers.items()})
        read = read.drop(*[name for name, kind in layout.landed_types.items() if kind == NOTHING])
        for name, is_utc in nanoseconds(layout.written, columns).items():
            instant = F.timestamp_micros(F.floor(F.col(f"`{name}`") / 1000))
            read = read.withColumn(name, instant if is_utc else instant.cast("timestamp_ntz"))
    elif source.separator == "whitespace":
        read = _whitespace(spark, columns, paths, source.charset)
    else:
        schema = StructType([StructField(name, StringType()) for name in [*columns, CORRUPT]])
        options: dict[str, str | bool] = {
            "sep": source.separator,
            "header": source.header,
            "encoding": source.charset,
            "mode": "PERMISSIVE",
            "multiLine": source.line_breaks or source.wide_letters,
            "columnPruning": False,  # a record is checked whole, even where a column of it is not kept
        }
        read = (
            spark.read.schema(schema)
            .options(columnNameOfCorruptRecord=CORRUPT, enforceSchema=True, emptyValue="", escape='"', **options)
            .csv(paths)
        )
        if source.wide:
            read = read.fillna("", columns)  # an empty cell: null is that of a column that the file lacks
    kept = [F.col(f"`{name}`") for name in read.columns]
    read = read.select(*kept, file_uri("_metadata.file_path").alias("_path"), *_position(data_set))
    return _number(read, data_set) if source.row_number else read


def _whitespace(spark: SparkSession, columns: list[str], paths: list[str], charset: str) -> DataFrame:
    text = spark.read.text(paths).withColumn("value", decoded("value", charset)).where(F.trim("value") != "")
    fields = F.split(F.trim(F.regexp_replace("value", r"\s+", " ")), " ")
    fits = F.size(fields) == len(columns)
    named = [F.get(fields, F.lit(i)).alias(name) for i, name in enumerate(columns)]
    return text.select(*named, F.when(~fits, F.col("value")).alias(CORRUPT))


def _position(data_set: DataSet) -> list[Column]:
    if not data_set.source.row_number:
        return []
    return [F.col("_metadata.file_block_start").alias("_block"), F.monotonically_increasing_id().alias("_order")]


def _number(read: DataFrame, data_set: DataSet) -> DataFrame:
    """Numbers the records of each file from 1: blocks of a file in order, and the reader's order within a block."""
    in_file = Window.partitionBy("_path").orderBy("_block", "_order")
    return read.withColumn(str(data_set.source.row_number), F.row_number().over(in_file)).drop("_block", "_order")
