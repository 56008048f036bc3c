"""The stage `clean`: stale days of silver and quarantine are made anew from bronze."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from pyspark.sql import functions as F

from nightmill.clean.accounting import WHOLE_DAY, Account, Counts
from nightmill.clean.corrections import corrected, corrections_digest, days_of, record_number, replay
from nightmill.clean.filters import filtered
from nightmill.clean.gaps import FILLED, filled
from nightmill.clean.records import BROKEN, CHANGED, TOLD, Judge, Masters, melted, whole_series
from nightmill.clean.sequence import (
    DUPLICATE,
    duplicates_marked,
    passes_told_apart,
    sequenced,
)
from nightmill.clean.steps import MERGED, counted, resampled
from nightmill.config import DataSet, digest
from nightmill.config.cleaning import SEQUENCE, Known
from nightmill.errors import DataRefused
from nightmill.lake.faults import translated
from nightmill.lake.landed import require_current
from nightmill.lake.quarantine import SCHEMA, corrections
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake, Table
from nightmill.lake.writes import days_condition, partition_by_day, read, replace
from nightmill.spark import Start, held

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


@dataclass
class Cleaned:
    """What cleaning did, day by day."""

    data_set: str
    days: dict[date, Counts] = field(default_factory=dict)
    version: int | None = None

    def total(self) -> Counts:
        """The sum over all days."""
        total = Counts()
        for counts in self.days.values():
            total.add(counts)
        return total


@dataclass
class _Work:
    """One cleaning: what it is of, and what it reads."""

    spark: SparkSession
    step: Step
    data_set: DataSet
    wanted: set[date] | None
    """Days that are made anew; None for all."""
    judge: Judge
    fixes: list[dict[str, Any]]
    """Corrections of refused records."""
    account: Account = field(default_factory=Account)

    def condition(self, without: set[date]) -> str | None:
        """SQL condition of the days that are written; None for all there are."""
        if self.wanted is not None:
            return days_condition(self.wanted - without)
        return f"NOT ({days_condition(without)})" if without else None


@dataclass(frozen=True)
class Replay:
    """Refused records are to be judged again."""

    corrections: Path | None = None
    """File of refused records that a person has edited."""


def clean(start: Start, step: Step, data_set: DataSet, days: set[date], again: Replay | None = None) -> Cleaned:
    """Makes the given days anew, and every day that bronze changed since silver was last made.

    Raises DataRefused for days in which too many records are refused; the other days are written all the same.
    """
    lake = step.lake
    bronze, silver = lake.table("bronze", data_set.name), lake.table("silver", data_set.name)
    version = step.read(bronze)
    require_current(bronze, data_set)
    masters = {rule.master: step.read(lake.table("silver", rule.master)) for rule in _known(data_set)}
    if again is not None:
        step.begin()
        days = days | replay(start, step, data_set, again.corrections)
    fixes = corrections(lake, data_set.name)
    stale = stale_days(lake, data_set, version, masters, fixes)
    wanted = None if stale is None else stale | days
    result = Cleaned(data_set.name, version=silver.version())
    if wanted is not None and not wanted:
        log.info("%s: silver is up to date", data_set.name)
        return result
    if wanted is not None and whole_series(data_set) and _looks_along_time(data_set):
        wanted = None
    step.begin()
    spark = start()
    rows = read(spark, bronze, version)
    if wanted is not None:
        moved = {row["was_day"] for row in fixes if row["day"] in wanted}
        rows = rows.where(days_condition(wanted | moved, "_record_day"))
    raw = melted(data_set, rows)
    judge = Judge(data_set, raw.columns, _masters(spark, lake, data_set, masters))
    if fixes:
        raw = corrected(spark, judge, raw, fixes)
        raw = raw if wanted is None else raw.where(days_condition(wanted, "_record_day"))
    work = _Work(spark, step, data_set, wanted, judge, fixes)
    with translated(bronze.uri), held(_records(work, raw)) as records:
        work.account.parsed(raw)
        work.account.judged(records, judge.reasons)
        _quarantine(work, records.where(F.col(BROKEN).isNotNull()))
        limit = data_set.clean.max_refused
        days_counts = work.account.by_day()
        over = {day for day, counts in days_counts.items() if counts.refused_share > limit or counts.failing}
        made = (wanted or set()) | days_counts.keys()
        if made - over or not made:
            result.version = _write(work, records.where(F.col(BROKEN).isNull()), silver, made, over)
    work.account.close(over)
    result.days = work.account.by_day()
    step.records(work.account.events())
    if over:
        raise _refused(data_set, {day: result.days[day] for day in over})
    return result


def stale_days(
    lake: Lake, data_set: DataSet, version: int, masters: dict[str, int], fixes: list[dict[str, Any]]
) -> set[date] | None:
    """Days that bronze changed since silver was last made, and days refused then; None means all days.

    Where a master changed, days with records that it did not know are stale, too.
    """
    bronze, silver = lake.table("bronze", data_set.name), lake.table("silver", data_set.name)
    note = silver.note()
    if not note or note.get("contract") != digest(data_set):
        return None
    changed = bronze.changed_days(note["inputs"].get(bronze.label), version, "_record_day")
    if changed is None:
        return None
    stale = changed | {date.fromisoformat(day) for day in note.get("refused_days", [])}
    if note.get("corrections", corrections_digest([])) != corrections_digest(fixes):
        stale |= days_of(fixes) | {date.fromisoformat(day) for day in note.get("corrected_days", [])}
    unknown = _days_of_unknown(lake, data_set, note, masters)
    return None if unknown is None else stale | unknown


def _days_of_unknown(lake: Lake, data_set: DataSet, note: dict[str, Any], masters: dict[str, int]) -> set[date] | None:
    """Days with records that a master did not know and may know now.

    None for all days, where a master no longer has what it had, or where unknown records have left no trace.
    """
    days: set[date] = set()
    for rule in _known(data_set):
        master, version = lake.table("silver", rule.master), masters[rule.master]
        before = note["inputs"].get(master.label)
        if before == version:
            continue
        if before is None:
            return None
        try:
            had, has = (_values(master, rule.column, one) for one in (before, version))
        except (DataRefused, OSError, KeyError):  # an earlier version that was vacuumed, or another column
            return None
        if had - has or (has - had and rule.then not in ("quarantine", "fail")):
            return None
        quarantine = lake.table("quarantine", data_set.name)
        if has - had and quarantine.exists():
            found = quarantine.delta().to_pyarrow_table(columns=["day"], filters=pc.field("rule") == "known")
            days |= set(found["day"].to_pylist())
    return days


def _values(master: Table, column: str, version: int) -> set[Any]:
    return set(master.delta(version).to_pyarrow_table(columns=[column])[column].unique().to_pylist())


def _known(data_set: DataSet) -> list[Known]:
    return [rule for rule in data_set.clean.rules if isinstance(rule, Known)]


def _masters(spark: SparkSession, lake: Lake, data_set: DataSet, versions: dict[str, int]) -> Masters:
    """The values that each rule of kind known allows."""
    found: Masters = {}
    for rule in _known(data_set):
        master = read(spark, lake.table("silver", rule.master), versions[rule.master])
        if rule.column not in master.columns:
            raise DataRefused(
                f"{data_set.name}: rule known looks for '{rule.column}' in {rule.in_}, which has no such column",
                where=f"conf/data/{data_set.name}.yaml",
                fix=f"write as: with one of {', '.join(c for c in master.columns if not c.startswith('_'))}",
            )
        values = master.select(F.col(f"`{rule.column}`").cast("string").alias("value"))
        found[rule.master, rule.column] = values.distinct()
    return found


def _looks_along_time(data_set: DataSet) -> bool:
    clean = data_set.clean
    return bool(clean.gaps or clean.resample or clean.filters or any(isinstance(r, SEQUENCE) for r in clean.rules))


def _records(work: _Work, raw: DataFrame) -> DataFrame:
    """What becomes of each raw record, duplicates left out: one pass over the data, with one shuffle."""
    data_set, judge = work.data_set, work.judge
    rows = passes_told_apart(data_set, judge.records(judge.judged(raw)))
    rows = duplicates_marked(data_set, rows)
    rows = sequenced(judge, rows.where(~F.col(DUPLICATE)))
    return rows.select(
        *[F.col(f"`{name}`") for name in _columns(data_set)], "day", "_file", "_drop_day", CHANGED, BROKEN, TOLD
    )


def _columns(data_set: DataSet) -> list[str]:
    """Columns of an accepted record beside those of Nightmill's own."""
    named = dict.fromkeys([*data_set.contract.entity, *data_set.kept])  # of events the entity may be a cell
    return [*named, *(["ts"] if data_set.contract.time else [])]


def _quarantine(work: _Work, refused: DataFrame) -> None:
    """Replaces what cleaning had refused of these days, or of all; days refused whole are kept, too."""
    step = work.step
    table = step.lake.table("quarantine", work.data_set.name)
    if not table.exists() and not any(counts.refused for counts in work.account.places.values()):
        return
    reasons = work.judge.reasons
    dropped = [number for number, why in enumerate(reasons) if why.then == "drop"]
    rules = F.array(*[F.lit(why.rule) for why in reasons])
    rows = refused.where(~F.col(BROKEN).isin(dropped)).select(
        "day",
        F.lit("clean").alias("stage"),
        F.get(rules, F.col(BROKEN)).alias("rule"),
        f"{TOLD}.reason",
        f"{TOLD}.original",
        "_file",
        f"{TOLD}._file_hash",
        "_drop_day",
        F.lit(step.run_id).alias("run_id"),
        record_number(F.col(f"{TOLD}._file_hash"), F.col(f"{TOLD}.original")).alias("record"),
        F.lit(None).cast("date").alias("was_day"),
    )
    assert rows.columns == SCHEMA.names
    days = "true" if work.wanted is None else days_condition(work.wanted | work.account.by_day().keys())
    condition = f"stage = 'clean' AND ({days})"
    step.wrote(table, replace(rows.repartition(1), table, condition, step.note(), step.lease, merge_schema=True))


def _write(work: _Work, accepted: DataFrame, silver: Table, made: set[date], over: set[date]) -> int:
    """Last of all: silver's commit says up to which bronze version everything is done."""
    data_set, step, condition = work.data_set, work.step, work.condition(over)
    accepted = filtered(data_set, accepted.where(condition) if condition else accepted)
    if data_set.clean.filters:
        work.account.changed(accepted)
    counts = [c.accepted for day, c in work.account.by_day().items() if day not in over]
    version = replace(
        _rows(data_set, accepted),
        silver,
        condition,
        step.note(
            contract=digest(data_set),
            refused_days=sorted(over),
            corrections=corrections_digest(work.fixes),
            corrected_days=sorted(days_of(work.fixes)),
        ),
        step.lease,
        none_yet=condition is not None and not silver.may_hold(made - over),
        partition_by_day=partition_by_day(sum(counts), len(counts)),
        merge_schema=True,
        searched=("day", *data_set.contract.entity, *(["ts"] if data_set.contract.time else [])),
    )
    step.wrote(silver, version)
    if data_set.clean.gaps:
        rows = read(work.spark, silver, version).where(FILLED)
        work.account.filled(rows.where(condition) if condition else rows)
    return version


def _rows(data_set: DataSet, accepted: DataFrame) -> DataFrame:
    """Silver's rows out of accepted records."""
    events = data_set.clean.events
    if events:
        rows = counted(data_set, accepted)
        kept = [*data_set.contract.entity, events.count, "ts", "day"]
        return rows.select(*[F.col(f"`{n}`") for n in kept]).withColumn(FILLED, F.lit(False))
    own = [*_columns(data_set), "day", "_file", CHANGED]
    rows = accepted.select(*[F.col(f"`{name}`") for name in own])
    if data_set.clean.resample:
        rows = resampled(data_set, rows).select(*[F.col(f"`{name}`") for name in [*own, MERGED]])
    return filled(data_set, rows)


def _refused(data_set: DataSet, over: dict[date, Counts]) -> DataRefused:
    day, counts = min(over.items())
    by_rule = {rule: n for rule, n in counts.refused.most_common() if rule != WHOLE_DAY}
    more = f" and {len(over) - 1} more days" if len(over) > 1 else ""
    limit = f"more than max_refused {data_set.clean.max_refused:.0%}"
    return DataRefused(
        f"{data_set.name}: {sum(by_rule.values())} of {counts.parsed} records of {day}{more} are refused "
        f"({', '.join(f'{rule} {n}' for rule, n in by_rule.items())}); "
        f"{'a rule of the contract fails the day' if counts.failing else limit}, so the day was not written. "
        f"Example: {counts.failing or counts.example}",
        where=f"bronze/{data_set.name}",
        fix="deliver the day again, or change the contract or clean.max_refused in the data set",
    )
