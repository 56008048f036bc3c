"""What needs the records before and after: duplicates, sensors that are stuck, spikes, counters that fall.

All of it works on one order of the records, by entity and local day, so that Spark shuffles and sorts them once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.clean.records import BROKEN, CHANGED, LINE, Judge
from nightmill.config import DataSet
from nightmill.config.cleaning import SEQUENCE, Monotone, Spike, Stuck
from nightmill.lake.contract import second_pass

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, WindowSpec

DUPLICATE = "_duplicate"
"""Whether another record with the same key stays in place of this one."""


def in_order(data_set: DataSet, *, reach: list[str] | None = None) -> WindowSpec:
    """One entity's records of one local day, by time; `reach` are further columns that records must share."""
    entity = [F.col(f"`{name}`") for name in data_set.contract.entity]
    return Window.partitionBy(*entity, *_unit(data_set), *(reach or [])).orderBy("ts")


def _unit(data_set: DataSet) -> list[str]:
    """Series of a step of a day or longer have no neighbours within a day: they are looked at as a whole."""
    return [] if whole_series(data_set) else ["day"]


def whole_series(data_set: DataSet) -> bool:
    """Whether rules along time see an entity's whole history instead of one local day of it."""
    time = data_set.contract.time
    return time is not None and time.is_daily


def passes_told_apart(data_set: DataSet, rows: DataFrame) -> DataFrame:
    """Moves the second record of a repeated local time in a file to the second pass, where the contract asks for it."""
    time = data_set.contract.time
    if time is None or time.repeated_hour != "in_order":
        return rows
    entity = [F.col(f"`{name}`") for name in data_set.contract.entity]
    later = second_pass(data_set, F.col("ts"))
    # only the repeated hour is numbered: every other record is a group of its own
    apart = F.when(F.col("_later").isNull(), F.monotonically_increasing_id())
    nth = F.row_number().over(Window.partitionBy(*entity, "ts", "_file", "_apart").orderBy(LINE))
    moved = F.when(F.col("_nth") == 2, F.col("_later")).otherwise(F.col("ts"))
    numbered = rows.withColumn("_later", later).withColumn("_apart", apart).withColumn("_nth", nth)
    return numbered.withColumn("ts", moved).drop("_later", "_apart", "_nth")


def duplicates_marked(data_set: DataSet, rows: DataFrame) -> DataFrame:
    """Adds `_duplicate`: of records with one key the first or last stays, by drop day, file, number and content."""
    events = data_set.clean.events
    # content decides by its hash: comparing dozens of columns is code that is too long for the JVM to compile
    content = F.xxhash64(*[F.col(f"`{name}`") for name in data_set.kept])
    tie = [F.col("_drop_day"), F.col("_file"), F.col(LINE), content]
    if data_set.clean.duplicates == "keep_last":
        tie = [column.desc() for column in tie]
    entity = [F.col(f"`{name}`") for name in data_set.contract.entity]
    same = [F.col("_identity")] if events else [F.col("ts")] if data_set.contract.time else []
    if not same:
        number = F.row_number().over(Window.partitionBy(*entity).orderBy(*tie))
        return rows.withColumn(DUPLICATE, number > 1)
    ordered = Window.partitionBy(*entity, *_unit(data_set)).orderBy(*same, *tie)
    repeats = F.lag(same[0]).over(ordered) == same[0]
    return rows.withColumn(DUPLICATE, F.coalesce(repeats, F.lit(False)))


def sequenced(judge: Judge, rows: DataFrame) -> DataFrame:
    """Applies the rules along time to records without duplicates; all see the values as they come in here.

    Refused ones have `_broken`, a number of the judge's reasons.
    """
    data_set, order = judge.data_set, in_order(judge.data_set)
    rules = {place: rule for place, rule in enumerate(data_set.clean.rules) if isinstance(rule, SEQUENCE)}
    if not rules:
        return rows
    flags = {place: f"_breaks_{place}" for place in rules}
    for place, rule in rules.items():
        value = F.col(f"`{rule.of}`")
        if isinstance(rule, Stuck):
            rows = _runs(data_set, rows, rule, flags[place])
        elif isinstance(rule, Spike):
            rows = rows.withColumn(flags[place], _leaves_both(value, order, rule.by))
        elif isinstance(rule, Monotone):
            rows = rows.withColumn(flags[place], _falls(value, order))
    broken = [F.when(F.col(flags[place]), F.lit(number)) for place, number in judge.along_time.items()]
    values: dict[str, Expression] = {}
    effects = [F.col(CHANGED)]
    for place, rule in rules.items():
        if rule.then == "null":
            flag = F.col(flags[place])
            values[rule.of] = F.when(~flag, values.get(rule.of, F.col(f"`{rule.of}`")))
            effects.append(F.when(flag, F.lit(f"{rule.of} {rule.kind}")))
    if len(effects) > 1:
        changed = F.concat_ws("; ", *effects)
        values[CHANGED] = F.when(changed != "", changed)
    if broken:
        values[BROKEN] = F.coalesce(*broken)
    return rows.withColumns(values).drop(*flags.values())


def _leaves_both(value: Expression, order: WindowSpec, by: float) -> Expression:
    before, after = F.lag(value).over(order), F.lead(value).over(order)
    above = (value - before > by) & (value - after > by)
    below = (before - value > by) & (after - value > by)
    return F.coalesce(above | below, F.lit(False))


def _falls(value: Expression, order: WindowSpec) -> Expression:
    """A dip below what comes before and after, or a peak above both; a fall that stays is none."""
    before, after = F.lag(value).over(order), F.lead(value).over(order)
    dip = (value < before) & (after.isNull() | (after >= before))
    peak = (value > after) & (before.isNull() | (before <= after))
    return F.coalesce(dip, F.lit(False)) | F.coalesce(peak, F.lit(False))


def _runs(data_set: DataSet, rows: DataFrame, rule: Stuck, flag: str) -> DataFrame:
    """Runs of one value are numbered; a run from whose first record to its last is too long is stuck."""
    value, order = F.col(f"`{rule.of}`"), in_order(data_set)
    starts = F.coalesce(F.lag(value).over(order) != value, F.lit(True))
    rows = rows.withColumn("_starts", starts.cast("int"))
    rows = rows.withColumn("_run", F.sum("_starts").over(order.rowsBetween(Window.unboundedPreceding, 0)))
    run = in_order(data_set, reach=["_run"]).rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    first, last = F.min(F.unix_micros("ts")).over(run), F.max(F.unix_micros("ts")).over(run)
    long = last - first >= F.lit(round(rule.lasting.total_seconds() * 1_000_000))
    allowed = value.isin(rule.except_) if rule.except_ else F.lit(False)
    return rows.withColumn(flag, long & value.isNotNull() & ~allowed).drop("_starts", "_run")
