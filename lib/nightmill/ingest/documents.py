"""JSON: an object a line, or one document that has a list of objects. Every value lands as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from nightmill.config import DataSet
from nightmill.ingest.drop import RawFile, decoded, file_uri

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_BROKEN = "_broken"


def keys(spark: SparkSession, data_set: DataSet, files: list[RawFile]) -> dict[str, tuple[str, ...] | None]:
    """The keys of each file's objects, sorted; None for a file that has text, but no object in it."""
    if not files:
        return {}
    named = {file.uri: file.name for file in files}
    of_file = F.array_sort(F.array_distinct(F.flatten(F.collect_list(F.json_object_keys("value")))))
    records = _objects(spark, data_set, files, outer=True)
    found = records.groupBy("_path").agg(of_file.alias("keys"), F.bool_or("whole").alias("whole")).collect()
    return {named[row["_path"]]: tuple(row["keys"]) if row["keys"] or row["whole"] else None for row in found}


def read(
    spark: SparkSession, data_set: DataSet, written: tuple[str, ...], columns: list[str], files: list[RawFile]
) -> DataFrame:
    """Records with these keys as text columns, `_corrupt` and `_path`; values that are no text keep their JSON."""
    schema = StructType([StructField(name, StringType()) for name in [*written, _BROKEN]])
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _BROKEN}
    parsed = F.from_json("value", schema, options)
    rows = _objects(spark, data_set, files).select("_path", "value", parsed.alias("_record"))
    fields = [F.col("_record").getField(raw).alias(name) for raw, name in zip(written, columns)]
    broken = F.when(F.col("_record").isNull() | F.col("_record").getField(_BROKEN).isNotNull(), F.col("value"))
    return rows.select(*fields, broken.alias("_corrupt"), "_path")


def _objects(spark: SparkSession, data_set: DataSet, files: list[RawFile], *, outer: bool = False) -> DataFrame:
    """`value` (text of one object), `_path`, and `whole`: whether a document has its list, be it empty."""
    source = data_set.source
    lines = spark.read.text([file.uri for file in files], wholetext=source.records is not None)
    value = F.ltrim(decoded("value", source.charset), F.lit("\ufeff"))
    text = lines.select(value.alias("value"), file_uri("_metadata.file_path").alias("_path"))
    if source.records is None:
        return text.where(F.trim("value") != "").withColumn("whole", F.lit(False))
    path = "$" if source.records == "." else f"$.{source.records}"
    listed = F.from_json(F.get_json_object("value", path), "ARRAY<STRING>")
    explode = F.explode_outer if outer else F.explode
    return text.withColumn("list", listed).select(
        explode("list").alias("value"), "_path", F.col("list").isNotNull().alias("whole")
    )
