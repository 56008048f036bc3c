"""Records as lines of text: csv with a header, or one JSON object a line, with broken ones where dirt says so."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F


def line(form: str, columns: Sequence[str], header: Sequence[str], separator: str) -> Column:
    """The record's line; nothing stands for null. Values must not contain the separator, quotes or line ends."""
    if form == "json":
        named = [F.col(column).alias(name) for column, name in zip(columns, header, strict=True)]
        return F.to_json(F.struct(*named), {"ignoreNullFields": "false"})
    texts = [F.coalesce(F.col(column).cast("string"), F.lit("")) for column in columns]
    return F.concat_ws(separator, *texts)


def broken(form: str, whole: Column, separator: str) -> Column:
    """The same line as a failing recorder leaves it: JSON that breaks off; csv without its last field or with one more.

    A line that is empty or has one field is not for csv.
    """
    if form == "json":
        return F.expr("left(_line, length(_line) - 9)")
    fields = F.size(F.split(whole, F.lit(f"[{separator}]"), -1))
    short = F.substring_index(whole, separator, -1)
    short = F.substring(whole, F.lit(1), F.length(whole) - F.length(short) - 1)
    return F.when((F.xxhash64(whole) % 2 == 0) & (fields > 2), short).otherwise(F.concat(whole, F.lit(f"{separator}0")))
