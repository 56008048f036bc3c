"""What needs the records before and after: duplicates, sensors that are stuck, spikes, counters that fall.

All of it works on one order of the records, by entity and local day, so that Spark shuffles and sorts them once.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.clean.records import BROKEN, CHANGED, LINE, SERIES, TOLD, Judge, whole_series
from nightmill.config import DataSet, Time
from nightmill.config.cleaning import SEQUENCE, Monotone, Spike, Stuck
from nightmill.lake.contract import second_pass

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, WindowSpec

DUPLICATE = "_duplicate"
"""Whether another record with the same key stays in place of this one."""


def in_order(data_set: DataSet) -> WindowSpec:
    """One entity's records of one local day, by time."""
    return Window.partitionBy(*_entity_and_day(data_set)).orderBy("ts")


def _entity_and_day(data_set: DataSet) -> list[str]:
    return [*[f"`{name}`" for name in data_set.contract.entity], *([] if whole_series(data_set) else ["day"])]


def passes_told_apart(data_set: DataSet, rows: DataFrame) -> DataFrame:
    """Moves the second record of a repeated local time in a file to the second pass, where the contract asks for it."""
    time = data_set.contract.time
    if time is None or time.repeated_hour != "in_order":
        return rows
    entity = [F.col(f"`{name}`") for name in data_set.contract.entity]
    later = second_pass(data_set, F.col("ts"))
    # only the repeated hour is numbered: every other record is a group of its own
    alone = F.when(F.col("_later").isNull(), F.monotonically_increasing_id())
    nth = F.row_number().over(Window.partitionBy(*entity, "ts", "_file", "_alone", SERIES).orderBy(LINE))
    moved = F.when(F.col("_nth") == 2, F.col("_later")).otherwise(F.col("ts"))
    numbered = rows.withColumn("_later", later).withColumn("_alone", alone).withColumn("_nth", nth)
    return numbered.withColumn("ts", moved).drop("_later", "_alone", "_nth")


def duplicates_marked(data_set: DataSet, rows: DataFrame) -> DataFrame:
    """Adds `_duplicate`: of records with one key the first or last stays, by drop day, file, number and content.

    A refused record is none: its key may be anything.
    """
    events = data_set.clean.events
    # content decides by its hash: comparing dozens of columns is code that is too long for the JVM to compile
    content = F.xxhash64(*[F.col(f"`{name}`") for name in data_set.kept])
    tie = [F.col("_drop_day"), F.col("_file"), F.col(LINE), content]
    if data_set.clean.duplicates == "keep_last":
        tie = [column.desc() for column in tie]
    entity = [F.col(f"`{name}`") for name in data_set.contract.entity]
    same = [F.col("_identity")] if events else [F.col("ts")] if data_set.contract.time else []
    if not same:
        repeats = F.row_number().over(Window.partitionBy(SERIES, *entity).orderBy(*tie)) > 1
    else:
        ordered = Window.partitionBy(SERIES, *_entity_and_day(data_set)).orderBy(*same, *tie)
        repeats = F.coalesce(F.lag(same[0]).over(ordered) == same[0], F.lit(False))
    return rows.withColumn(DUPLICATE, repeats & F.col(BROKEN).isNull())


def sequenced(judge: Judge, rows: DataFrame) -> DataFrame:
    """Applies the rules along time to records without duplicates; all see the values as they come in here.

    What they refuse has `_broken` and a reason as if a rule on single records did; what those refused stays as it is.
    """
    data_set = judge.data_set
    rules = {place: rule for place, rule in enumerate(data_set.clean.rules) if isinstance(rule, SEQUENCE)}
    if not rules:
        return rows
    series = [SERIES, *_entity_and_day(data_set)]
    order = Window.partitionBy(*series).orderBy("ts")
    flags = {place: f"_breaks_{place}" for place in rules}
    for place, rule in rules.items():
        value = F.col(f"`{rule.of}`")
        if isinstance(rule, Stuck):
            rows = _runs(rows, series, rule, flags[place], data_set.contract.time)
        elif isinstance(rule, Spike):
            rows = rows.withColumn(flags[place], _leaves_both(value, order, rule.by))
        elif isinstance(rule, Monotone):
            rows = rows.withColumn(flags[place], _falls(value, order))
    values: dict[str, Expression] = {}
    effects = [F.col(CHANGED)]
    for place, rule in rules.items():
        if rule.then == "null":
            flag = F.col(flags[place])
            values[rule.of] = F.when(~flag, values.get(rule.of, F.col(f"`{rule.of}`")))
            effects.append(F.when(flag, F.lit(f"{rule.of} {rule.kind}")))
    if len(effects) > 1:
        any_flag = reduce(or_, [F.col(flags[place]) for place, rule in rules.items() if rule.then == "null"])
        values[CHANGED] = F.when(any_flag, F.concat_ws("; ", *effects)).otherwise(F.col(CHANGED))
    if judge.along_time:
        numbers = {place: F.lit(number) for place, number in judge.along_time.items()}
        broken = [F.when(F.col(flags[place]), number) for place, number in numbers.items()]
        rows = rows.withColumn(BROKEN, F.coalesce(BROKEN, *broken))
        reason = F.coalesce(F.col(TOLD)["reason"], judge.reason(list(judge.along_time.values())))
        values[TOLD] = F.when(F.col(BROKEN).isNotNull(), F.col(TOLD).withField("reason", reason))
    return rows.withColumns(values).drop(*flags.values())


def _leaves_both(value: Expression, order: WindowSpec, by: float) -> Expression:
    before, after = F.lag(value).over(order), F.lead(value).over(order)
    above = (value - before > by) & (value - after > by)
    below = (before - value > by) & (after - value > by)
    return F.coalesce(above | below, F.lit(False))


def _falls(value: Expression, order: WindowSpec) -> Expression:
    """A dip below what comes before and after, or a peak above both; a fall that stays is none.

    The first and the last record of a day have a neighbour on one side only, which convicts nobody.
    """
    before, after = F.lag(value).over(order), F.lead(value).over(order)
    dip = (value < before) & (after >= before)
    peak = (value > after) & (before <= after)
    return F.coalesce(dip, F.lit(False)) | F.coalesce(peak, F.lit(False))


def _runs(rows: DataFrame, series: list[str], rule: Stuck, flag: str, times: Time | None) -> DataFrame:
    """A run of one value from whose first record to its last is too long is stuck.

    A run ends before the next one's begin, which a look ahead finds in the order there is: no second sort by runs.
    Records a hole apart that is as long begin another: nobody knows what was in it.
    """
    value, time = F.col(f"`{rule.of}`"), F.unix_micros("ts")
    length = round(rule.lasting.total_seconds() * 1_000_000)
    # a step of days or months may be an hour or three days longer than another
    hole = max(length, round(1.5 * times.every.total_seconds() * 1_000_000) if times else 0)
    order = Window.partitionBy(*series).orderBy("ts")
    before = F.lag(time).over(order)
    begins = F.coalesce((F.lag(value).over(order) != value) | (time - before >= hole), F.lit(True))
    rows = rows.withColumns({"_begin": F.when(begins, time), "_before": F.when(begins, before)})
    first = F.last("_begin", ignorenulls=True).over(order.rowsBetween(Window.unboundedPreceding, 0))
    ended = F.expr(f"LEAD(_before) IGNORE NULLS OVER (PARTITION BY {', '.join(series)} ORDER BY ts)")
    # within the order, so that one pass over it does all
    whole = order.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    last = F.coalesce(ended, F.max(time).over(whole))
    long = last - first >= length
    allowed = value.isin(rule.except_) if rule.except_ else F.lit(False)
    return rows.withColumn(flag, long & value.isNotNull() & ~allowed).drop("_begin", "_before")
