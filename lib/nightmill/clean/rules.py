"""A contract as Spark expressions: the typed value of each column, and the first rule that a record breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.config import Column, DataSet
from nightmill.lake.contract import after_drop, record_day, utc_time

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

RULE = "_rule"
"""`rule: reason` of the first rule that a record breaks, null for a good one."""
_SPARK_TYPES = {"float": "double", "int": "bigint", "text": "string", "bool": "boolean"}


def melted(data_set: DataSet, bronze: DataFrame, keep: list[str]) -> DataFrame:
    """One row per entity where the source has a column per entity; others as they are.

    `keep` are the columns that stay beside the wide ones.
    """
    wide = data_set.source.wide
    if wide is None:
        return bronze
    values = [name for name in bronze.columns if name not in keep and not name.startswith("_") and name != "day"]
    kept = [F.col(f"`{name}`") for name in bronze.columns if name not in values]
    cells = F.array(
        *[
            F.struct(
                F.lit(name).alias(wide.entity),
                F.col(f"`{name}`").cast("string").alias(wide.value),
                F.lit(position).cast("string").alias(wide.position or "_position"),
            )
            for position, name in enumerate(values, start=1)
        ]
    )
    return bronze.select(*kept, F.explode(cells).alias("_cell")).select(*kept, "_cell.*").drop("_position")


def checked(data_set: DataSet, raw: DataFrame) -> DataFrame:
    """Adds the typed columns of silver, `ts`, `day` and `_rule`; keeps `_original`, the record as text."""
    contract = data_set.contract
    names = silver_columns(data_set)
    typed, breaks = {}, [(F.col("_corrupt").isNotNull(), F.lit("malformed: more or fewer fields than columns"))]
    if contract.time is not None:
        ts = utc_time(data_set)
        shown = F.col(f"`{contract.time.told_by}`").cast("string")
        breaks.append((ts.isNull(), _reason("time", "not a time", shown)))
        breaks.append((after_drop(data_set, ts), _reason("time", "lies after its drop", shown)))
        typed["ts"] = ts
    for name in names:
        column = contract.column(name)
        text = _present(data_set, name)
        value = F.expr(f"try_cast(`{name}` AS {_SPARK_TYPES[column.type]})")
        value = F.when(text.isNotNull(), value)
        if column.type == "float":
            value = F.when(~F.isnan(value), value)
        breaks += _column_rules(name, column, text, value)
        typed[name] = value
    rule = F.coalesce(*[F.when(broken, reason) for broken, reason in breaks])
    own = [c for c in raw.columns if not c.startswith("_") and c != "day"]
    original = F.to_json(F.struct(*[F.col(f"`{c}`") for c in own]))
    origin = ["_file", "_file_hash", "_drop_day"]
    return raw.select(
        *[expression.alias(name) for name, expression in typed.items()],
        record_day(data_set).alias("day"),
        rule.alias(RULE),
        F.when(F.col("_corrupt").isNotNull(), F.col("_corrupt")).otherwise(original).alias("_original"),
        *origin,
    )


def silver_columns(data_set: DataSet) -> list[str]:
    """Columns of silver beside `ts`, `day` and `_filled`: the key's, then the contract's."""
    contract = data_set.contract
    return list(dict.fromkeys([*contract.entity, *contract.columns]))


def _present(data_set: DataSet, name: str) -> Expression:
    """The raw value as trimmed text, null where it is empty or one of the texts that mean missing."""
    text = F.trim(F.col(f"`{name}`").cast("string"))
    missing = ["", *data_set.source.missing]
    return F.when(~text.isin(missing), text)


def _column_rules(
    name: str, column: Column, text: Expression, value: Expression
) -> list[tuple[Expression, Expression]]:
    rules = [(text.isNotNull() & value.isNull(), _reason("type", f"{name} is not of type {column.type}", text))]
    if column.required:
        rules.append((text.isNull(), F.lit(f"required: {name} is missing")))
    if column.between is not None:
        low, high = column.between
        outside = (value < low) | (value > high)
        rules.append((outside, _reason("between", f"{name} is outside {low:g} … {high:g}", text)))
    if column.one_of is not None:
        rules.append((~value.isin(column.one_of), _reason("one_of", f"{name} is none of the allowed texts", text)))
    return rules


def _reason(rule: str, reason: str, text: Expression) -> Expression:
    return F.concat(F.lit(f"{rule}: {reason}: '"), F.coalesce(F.substring(text, 1, 100), F.lit("")), F.lit("'"))
