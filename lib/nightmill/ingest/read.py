"""One drop as a Spark frame: the source's own columns, text as text, headers matched by name."""

from __future__ import annotations

import csv
import difflib
from collections import defaultdict
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType
from pyspark.sql.window import Window

from nightmill.config import DataSet
from nightmill.config.dataset import landed_name
from nightmill.errors import DataRefused
from nightmill.ingest.drop import RawFile, first_line, name_groups
from nightmill.ingest.parquet import Types, landed_types, other_type, read_schema, usual_types

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CORRUPT = "_corrupt"
"""Text of a csv record that has more or fewer fields than its header."""
_FORBIDDEN = str.maketrans({c: "_" for c in " ,;{}()\n\t="})


@dataclass(frozen=True)
class Layout:
    """What files must share to be read together."""

    columns: tuple[str, ...]
    """Names with which they land, in the file's order."""
    types: tuple[str, ...] = ()
    """Types in Parquet files, as written there."""
    landed: tuple[str, ...] = ()
    """Types with which columns of Parquet files land."""

    @property
    def landed_types(self) -> dict[str, str]:
        """The same by column; empty for text, which lands as text."""
        return dict(zip(self.columns, self.landed))


Groups = dict[Layout, list[RawFile]]


def layouts(data_set: DataSet, files: list[RawFile], held: Types) -> tuple[Groups, dict[str, str]]:
    """Files grouped by their layout, and the reason for each file that cannot land; `held` are bronze's types."""
    groups: Groups = defaultdict(list)
    bad: dict[str, str] = {}
    found: dict[str, tuple[RawFile, Layout]] = {}
    for file in files:
        try:
            layout = _layout(data_set, file)
            _require(data_set, layout.columns, file)
        except DataRefused as error:
            bad[file.name] = error.what
            continue
        if layout.columns:
            found[file.name] = file, layout
    usual = usual_types([layout.landed_types for _, layout in found.values()], held)
    for file, layout in found.values():
        if why := other_type(layout.landed_types, usual):
            bad[file.name] = why
        else:
            groups[layout].append(file)
    return groups, bad


def frame(spark: SparkSession, data_set: DataSet, groups: Groups) -> DataFrame:
    """All records of the files, with `_path`, `_corrupt` (csv) and the columns that file names and numbers give."""
    parts = [_read(spark, data_set, layout, files) for layout, files in groups.items()]
    union = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)
    for name, text in data_set.source.constants.items():
        union = union.withColumn(name, F.lit(text))
    return union


def no_records(spark: SparkSession, data_set: DataSet) -> DataFrame:
    """What `frame` returns for files without records, and without names of columns."""
    numbers = {"float": "double", "int": "bigint"} if data_set.source.format == "parquet" else {}
    types = {
        name: numbers.get(data_set.contract.column(name).type, "string") for name in sorted(data_set.contract.recorded)
    }
    columns = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
    return spark.createDataFrame([], f"{columns}, _path string")


def _layout(data_set: DataSet, file: RawFile) -> Layout:
    source = data_set.source
    if file.undecodable:
        raise DataRefused(file.undecodable, where=file.name)
    if source.format == "parquet":
        schema = read_schema(file)
        landed = landed_types(data_set, schema)
        return Layout(tuple(landed), tuple(str(field.type) for field in schema), tuple(landed.values()))
    line = first_line(file, source.encoding)
    fields = _split(line, source.separator)
    if not any(field.strip() for field in fields):
        return Layout(())
    if source.header:
        names = [landed_name(field.strip().translate(_FORBIDDEN)) for field in fields]
        doubled = sorted({n for n in names if names.count(n) > 1 or not n})
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


def _require(data_set: DataSet, columns: tuple[str, ...], file: RawFile) -> None:
    """Every column of the contract must come from the file, its name, its record numbers or a constant."""
    if not columns:
        return
    source, contract = data_set.source, data_set.contract
    given = {*columns, *source.constants}
    if source.row_number:
        given.add(source.row_number)
    if source.file_name:
        groups = name_groups(source.file_name, file.name)
        if groups is None:
            raise DataRefused(f"the file's name does not match {source.file_name}", where=file.name)
        given |= groups.keys()
    if source.wide:
        given |= {source.wide.entity, source.wide.value, *([source.wide.position] if source.wide.position else [])}
    wanted = contract.recorded
    for name in sorted(wanted - given):
        near = difflib.get_close_matches(name, [c for c in columns if c not in wanted], 1, 0.6)
        hint = f"; it has '{near[0]}'" if near else ""
        raise DataRefused(f"column '{name}' is missing{hint}", where=file.name)


def _read(spark: SparkSession, data_set: DataSet, layout: Layout, files: list[RawFile]) -> DataFrame:
    source, paths, columns = data_set.source, [file.uri for file in files], list(layout.columns)
    if source.format == "parquet":
        read = spark.read.parquet(*paths).toDF(*columns)
        numbers = {name: kind for name, kind in layout.landed_types.items() if kind in ("bigint", "double")}
        read = read.withColumns({name: F.col(f"`{name}`").cast(kind) for name, kind in numbers.items()})
    elif source.separator == "whitespace":
        read = _whitespace(spark, columns, paths, source.encoding)
    else:
        schema = StructType([StructField(name, StringType()) for name in [*columns, CORRUPT]])
        options: dict[str, str | bool] = {
            "sep": source.separator,
            "header": source.header,
            "encoding": source.encoding,
            "mode": "PERMISSIVE",
            "multiLine": source.line_breaks,
        }
        read = (
            spark.read.schema(schema)
            .options(columnNameOfCorruptRecord=CORRUPT, enforceSchema=True, emptyValue="", escape='"', **options)
            .csv(paths)
        )
    kept = [F.col(f"`{name}`") for name in read.columns]
    path = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    read = read.select(*kept, F.regexp_replace(path, "^file:/+", "file:///").alias("_path"), *_position(data_set))
    return _number(read, data_set) if source.row_number else read


def _whitespace(spark: SparkSession, columns: list[str], paths: list[str], encoding: str) -> DataFrame:
    text = spark.read.option("encoding", encoding).text(paths).where(F.trim("value") != "")
    fields = F.split(F.trim(F.regexp_replace("value", r"\s+", " ")), " ")
    fits = F.size(fields) == len(columns)
    named = [F.get(fields, F.lit(i)).alias(name) for i, name in enumerate(columns)]
    return text.select(*named, F.when(~fits, F.col("value")).alias(CORRUPT))


def _position(data_set: DataSet) -> list:
    if not data_set.source.row_number:
        return []
    return [F.col("_metadata.file_block_start").alias("_block"), F.monotonically_increasing_id().alias("_order")]


def _number(read: DataFrame, data_set: DataSet) -> DataFrame:
    """Numbers the records of each file from 1: blocks of a file in order, and the reader's order within a block."""
    in_file = Window.partitionBy("_path").orderBy("_block", "_order")
    return read.withColumn(str(data_set.source.row_number), F.row_number().over(in_file)).drop("_block", "_order")
