"""The stage `clean`: stale days of silver and quarantine are made anew from bronze."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from pyspark import StorageLevel
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.clean.gaps import filled
from nightmill.clean.rules import RULE, checked, melted, silver_columns
from nightmill.config import DataSet, digest
from nightmill.errors import DataRefused
from nightmill.lake.faults import translated
from nightmill.lake.quarantine import SCHEMA
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake, Table
from nightmill.lake.writes import days_condition, partition_by_day, read, replace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """The records of one day: parsed = accepted + refused + duplicates."""

    parsed: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Rule -> records."""
    example: str = ""

    @property
    def refused_share(self) -> float:
        """Share of parsed records that a rule refused."""
        return sum(self.refused.values()) / self.parsed if self.parsed else 0.0


@dataclass
class Cleaned:
    """What cleaning did, day by day."""

    data_set: str
    days: dict[date, Counts]
    filled: int = 0
    version: int | None = None

    def total(self) -> Counts:
        """The sum over all days."""
        total = Counts()
        for counts in self.days.values():
            total.parsed += counts.parsed
            total.accepted += counts.accepted
            total.duplicates += counts.duplicates
            total.refused += counts.refused
        return total


def clean(spark: SparkSession, lake: Lake, step: Step, data_set: DataSet, days: set[date]) -> Cleaned:
    """Makes the given days anew, and every day that bronze changed since silver was last made.

    Raises DataRefused for days in which too many records are refused; the other days are written all the same.
    """
    bronze, silver = lake.table("bronze", data_set.name), lake.table("silver", data_set.name)
    version = step.read(bronze)
    stale = stale_days(data_set, bronze, silver, version)
    wanted = None if stale is None else stale | days
    result = Cleaned(data_set.name, {}, version=silver.version())
    if wanted is not None and not wanted:
        log.info("%s: silver is up to date", data_set.name)
        return result
    rows = read(spark, bronze, version)
    if wanted is not None:
        rows = rows.where(days_condition(wanted, "_record_day"))
    judged = _judged(data_set, melted(data_set, rows, _beside_wide(data_set)))
    judged = judged.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        with translated(bronze.uri):
            result.days = _count(judged)
        over = {d: c for d, c in result.days.items() if c.refused_share > data_set.clean.max_refused}
        made = (wanted or set()) | result.days.keys()
        _quarantine(lake, step, data_set, judged, None if wanted is None else made, result)
        if made - over.keys() or not made:
            if wanted is not None:
                condition: str | None = days_condition(made - over.keys())
            else:
                condition = f"NOT ({days_condition(over)})" if over else None
            _write(lake, step, data_set, judged, made - over.keys(), condition, sorted(over), result)
    finally:
        judged.unpersist()
    if over:
        raise _refused(data_set, over)
    return result


def stale_days(data_set: DataSet, bronze: Table, silver: Table, version: int) -> set[date] | None:
    """Days that bronze changed since silver was last made, and days refused then; None means all days."""
    note = silver.note()
    if not note or note.get("contract") != digest(data_set):
        return None
    changed = bronze.changed_days(note["inputs"].get(bronze.label), version, "_record_day")
    return None if changed is None else changed | {date.fromisoformat(day) for day in note.get("refused_days", [])}


def _beside_wide(data_set: DataSet) -> list[str]:
    source = data_set.source
    named = [*source.constants, *([source.row_number] if source.row_number else [])]
    return [*named, *[name for name in data_set.contract.key if source.wide and name != source.wide.entity]]


def _judged(data_set: DataSet, raw: DataFrame) -> DataFrame:
    """Every record with its fate: `_rule` for refused ones, `_rank` above 1 for duplicates."""
    rows = checked(data_set, raw)
    key = [F.col(f"`{name}`") for name in data_set.contract.entity]
    key += [F.col("ts")] if data_set.contract.time else []
    order = [F.col("_drop_day"), F.col("_file"), F.col("_original")]
    if data_set.clean.duplicates == "keep_last":
        order = [column.desc() for column in order]
    # refused records have no valid key: each is a group of its own, so that they neither count as duplicates nor skew
    apart = F.when(F.col(RULE).isNotNull(), F.monotonically_increasing_id()).otherwise(F.lit(-1))
    with_apart = rows.withColumn("_apart", apart)
    same_key = Window.partitionBy("_apart", *key).orderBy(*order)
    return with_apart.withColumn("_rank", F.row_number().over(same_key)).drop("_apart")


def _count(judged: DataFrame) -> dict[date, Counts]:
    name = F.split(F.col(RULE), ": ", 2)[0]
    groups = judged.groupBy("day", name.alias("rule"), (F.col("_rank") > 1).alias("duplicate"))
    days: dict[date, Counts] = {}
    for row in groups.agg(F.count("*").alias("n"), F.min(RULE).alias("example")).collect():
        counts = days.setdefault(row["day"], Counts())
        counts.parsed += row["n"]
        if row["rule"] is not None:
            counts.refused[row["rule"]] += row["n"]
            counts.example = counts.example or row["example"]
        elif row["duplicate"]:
            counts.duplicates += row["n"]
        else:
            counts.accepted += row["n"]
    return days


def _quarantine(
    lake: Lake, step: Step, data_set: DataSet, judged: DataFrame, days: set[date] | None, result: Cleaned
) -> None:
    """Replaces what cleaning had refused of these days, or of all; days refused whole are kept, too."""
    table = lake.table("quarantine", data_set.name)
    if not table.exists() and not any(counts.refused for counts in result.days.values()):
        return
    refused = judged.where(F.col(RULE).isNotNull()).select(
        "day",
        F.lit("clean").alias("stage"),
        F.split(RULE, ": ", 2)[0].alias("rule"),
        F.split(RULE, ": ", 2)[1].alias("reason"),
        F.col("_original").alias("original"),
        "_file",
        "_file_hash",
        "_drop_day",
        F.lit(step.run_id).alias("run_id"),
    )
    assert refused.columns == SCHEMA.names
    condition = f"stage = 'clean' AND ({'true' if days is None else days_condition(days)})"
    step.wrote(table, replace(refused.coalesce(1), table, condition, step.note(), step.lease))


def _write(
    lake: Lake,
    step: Step,
    data_set: DataSet,
    judged: DataFrame,
    days: set[date],
    condition: str | None,
    refused_days: list[date],
    result: Cleaned,
) -> None:
    """Last of all: silver's commit says up to which bronze version everything is done."""
    in_days = judged.where(condition) if condition else judged
    note = step.note(contract=digest(data_set), refused_days=refused_days)
    silver = lake.table("silver", data_set.name)
    columns = [name for name in (*silver_columns(data_set), "ts", "day") if name in judged.columns]
    accepted = in_days.where(F.col(RULE).isNull() & (F.col("_rank") == 1)).select(*columns)
    rows = filled(data_set, accepted)
    counts = [result.days[d].accepted for d in days if d in result.days]
    by_day = partition_by_day(sum(counts), len(counts))
    rows = rows.sortWithinPartitions(*data_set.contract.entity, *(["ts"] if data_set.contract.time else []))
    result.version = replace(
        rows,
        silver,
        condition,
        note,
        step.lease,
        none_yet=condition is not None and not silver.may_hold(days),
        partition_by_day=by_day,
        merge_schema=True,
    )
    step.wrote(silver, result.version)
    metrics = _metrics(result, days)
    step.metric(metrics)


def _metrics(result: Cleaned, days: set[date]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for day in sorted(days & result.days.keys()):
        counts = result.days[day]
        values = {"parsed": counts.parsed, "accepted": counts.accepted, "duplicates": counts.duplicates}
        values |= {f"refused {rule}": n for rule, n in counts.refused.items()}
        rows += [{"metric": "records", "of": of, "value": float(n), "day": day} for of, n in values.items()]
    return rows


def _refused(data_set: DataSet, over: dict[date, Counts]) -> DataRefused:
    day, counts = min(over.items())
    rules = ", ".join(f"{rule} {n}" for rule, n in counts.refused.most_common())
    more = f" and {len(over) - 1} more days" if len(over) > 1 else ""
    return DataRefused(
        f"{data_set.name}: {sum(counts.refused.values())} of {counts.parsed} records of {day}{more} are refused "
        f"({rules}); more than max_refused {data_set.clean.max_refused:.0%}, so the day was not written. "
        f"Example: {counts.example}",
        where=f"bronze/{data_set.name}",
        fix="deliver the day again, or change the contract or clean.max_refused in the data set",
    )
