"""Rows that are asked from a table instead of found in files: Delta by path, a catalog's table, a database."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import TYPE_CHECKING

from pyspark import StorageLevel
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from nightmill.config import DataSet
from nightmill.config.source import landed_name
from nightmill.errors import ConfigError, DataRefused, MachineError, NightmillError
from nightmill.ingest.drop import RawFile
from nightmill.ingest.layout import Layout, misfit
from nightmill.ingest.parquet import Types, other_type, usual_types
from nightmill.lake.faults import translated

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_DRIVERS = {
    "postgresql": "org.postgresql.Driver",
    "mysql": "com.mysql.cj.jdbc.Driver",
    "mariadb": "org.mariadb.jdbc.Driver",
    "sqlserver": "com.microsoft.sqlserver.jdbc.SQLServerDriver",
    "oracle": "oracle.jdbc.OracleDriver",
}
"""Without a name Java's own look-up finds no driver among the jars that Spark fetches."""


def pull(
    spark: SparkSession, data_set: DataSet, raw: str, day: date, types: Types, held: ExitStack
) -> tuple[DataFrame, RawFile, Layout, int]:
    """One day's rows with `_path`, what stands for their file, their layout and their number.

    `types` are bronze's columns and their types. The rows are persisted as long as `held` is open: what is counted and
    hashed is what lands, whatever becomes of the table meanwhile. Raises DataRefused where the table's columns do not
    fit the contract.
    """
    name = _name(data_set, day)
    with _told(data_set, name), translated(name):
        asked = _asked(spark, data_set, raw, day)
        theirs = asked.select(*[_landed(data_set, field, kind) for field, kind in asked.dtypes])
        constants = {column: F.lit(text) for column, text in data_set.source.constants.items()}
        rows = theirs.withColumns({**constants, "_path": F.lit(name)}).persist(StorageLevel.MEMORY_AND_DISK)
        held.callback(rows.unpersist)
        columns = [F.col(f"`{column}`") for column in theirs.columns]
        # a sum of hashes knows no order, as rows of a table have none; two of them, so that equal sums mean equal rows
        sums = [F.sum(F.xxhash64(F.lit(salt), *columns).cast("decimal(38,0)")) for salt in (1, 2)]
        counted = rows.agg(F.count("*"), *sums).first()
    assert counted is not None
    layout = Layout(tuple(theirs.columns), (), tuple(kind for _, kind in theirs.dtypes))
    file = RawFile(name, name, "-".join(str(value) for value in counted), day)
    landed = layout.landed_types
    if why := misfit(data_set, layout.columns, file, types) or other_type(landed, usual_types([landed], types)):
        raise DataRefused(f"{data_set.name}: {why}", where=name, fix="change the contract, or the table")
    return rows, file, layout, int(counted[0])


def _name(data_set: DataSet, day: date) -> str:
    source = data_set.source
    table = source.table or source.path.replace("${raw}/", "") or data_set.name
    return f"{source.format}:{table}" + (f"@{day}" if source.by_day else "")


def _asked(spark: SparkSession, data_set: DataSet, raw: str, day: date) -> DataFrame:
    source = data_set.source
    where = source.where.replace("{day}", day.isoformat()) if source.where else None
    if source.format == "jdbc":
        return _database(spark, data_set, where, day)
    if source.format == "delta":
        path = source.path.replace("${raw}", raw).replace("{day}", day.isoformat())
        table = spark.read.format("delta").load(path)
    else:
        table = spark.read.table(str(source.table))
    return table.where(where) if where else table


def _database(spark: SparkSession, data_set: DataSet, where: str | None, day: date) -> DataFrame:
    source, jdbc = data_set.source, data_set.source.jdbc
    assert jdbc is not None
    query = jdbc.query.replace("{day}", day.isoformat()) if jdbc.query else f"SELECT * FROM {source.table}"
    query = f"SELECT * FROM ({query}) AS wanted WHERE {where}" if where else query
    options = {"url": jdbc.url, "fetchsize": "10000", "preferTimestampNTZ": "true", **_login(jdbc.login)}
    driver = jdbc.driver or _DRIVERS.get(jdbc.url.split(":")[1])
    options |= {"driver": driver} if driver else {}
    if jdbc.split is None:
        return spark.read.format("jdbc").options(**options, query=query).load()
    ends = f"SELECT MIN({jdbc.split}) AS low, MAX({jdbc.split}) AS high FROM ({query}) AS asked"
    span = spark.read.format("jdbc").options(**options, query=ends).load().first()
    low, high = (int(end) if end is not None else 0 for end in span) if span else (0, 0)
    share = {"partitionColumn": jdbc.split, "lowerBound": str(low), "upperBound": str(max(high, low + 1))}
    share |= {"numPartitions": str(jdbc.parts), "dbtable": f"({query}) AS asked"}
    return spark.read.format("jdbc").options(**options, **share).load()


@contextmanager
def _told(data_set: DataSet, name: str) -> Iterator[None]:
    """Raises the typed error for a table or a database that does not give what it is asked for."""
    try:
        yield
    except NightmillError:
        raise
    except Exception as error:
        causes = _causes(error)
        text, inner = "\n".join(causes), causes[-1].split("Exception: ")[-1].splitlines()[0][:300]
        jdbc = data_set.source.jdbc
        if jdbc and re.search(
            "No suitable driver|ClassNotFound|Cannot find catalog plugin|DATA_SOURCE_NOT_FOUND", text
        ):
            driver = "set spark.jars.packages to the database's driver in the environment's spark.settings"
            raise MachineError("no driver for this database", where=name, fix=driver) from error
        if jdbc and ("FAILED_JDBC.CONNECTION" in text or re.search(r"(?i)connect|password|authenti|timed out", inner)):
            fix = f"check {jdbc.url}, its name and its password"
            raise MachineError(f"the database does not let us in: {inner}", where=name, fix=fix) from error
        if jdbc and "SQL" in text:
            raise DataRefused(f"the database refuses the query: {inner}", where=name, fix="check its query") from error
        if isinstance(error, AnalysisException):
            what = str(error).splitlines()[0][:300]
            fix = "check source.path" + (" and source.where" if data_set.source.where else "")
            raise DataRefused(f"the table cannot be read: {what}", where=name, fix=fix) from error
        raise


def _causes(error: BaseException) -> list[str]:
    """What Python and Java say of an error, the innermost cause last."""
    found = [str(error) or type(error).__name__]
    java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while java is not None and len(found) < 10:
        found.append(str(java.toString()))
        java = java.getCause()
    return found


def _login(prefix: str | None) -> dict[str, str]:
    if prefix is None:
        return {}
    names = {"user": f"{prefix}_USER", "password": f"{prefix}_PASSWORD"}
    for variable in names.values():
        if variable not in os.environ:
            raise ConfigError(f"{variable} is not set", where="jdbc.login", fix=f"set {' and '.join(names.values())}")
    return {option: os.environ[variable] for option, variable in names.items()}


def _landed(data_set: DataSet, field: str, kind: str) -> Column:
    """The column under its bronze name; numbers of several widths land in one."""
    column = data_set.contract.columns.get(landed_name(field))
    found = F.col(f"`{field}`")
    if kind in ("tinyint", "smallint", "int"):
        found = found.cast("bigint")
    elif kind == "float" or (kind.startswith("decimal") and column is not None and column.type == "float"):
        found = found.cast("double")
    elif kind.startswith(("interval", "void", "array", "map", "struct", "char", "varchar")):
        found = found.cast("string")
    return found.alias(landed_name(field))
