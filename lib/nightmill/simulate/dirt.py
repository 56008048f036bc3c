"""Known dirt: what recorders, networks and people do to clean rows, planted with a truth table of every case.

A row gets at most one kind, so that what a rule finds can be compared with what was planted one to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nightmill.simulate import episodes
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import iso
from nightmill.simulate.episodes import Steps

RATES = {
    "duplicate": 0.003,
    "superseded": 0.002,
    "out_of_range": 0.002,
    "not_a_number": 0.001,
    "missing_value": 0.003,
    "missing_step": 0.002,
    "late": 0.002,
    "unknown_entity": 0.001,
    "bad_category": 0.002,
    "bad_code": 0.002,
    "broken_relation": 0.003,
    "malformed": 0.001,
    "bad_time": 0.001,
    "future_time": 0.001,
    "stuck": 0.003,
    "spike": 0.001,
    "counter_back": 0.002,
}
"""Share of clean rows that each kind befalls, where a data set gets it.

duplicate: the same record twice in one file. superseded: a wrong but possible value, which a `correction` in the next
day's drop replaces. missing_step: the record is nowhere. late: the record is `delayed` here and comes with the next
day's drop. malformed: a line with too few or too many fields, a JSON object that breaks off. All others: a text that
cannot be true stands in the place of the true one.
"""
LEAST, MOST = 0.3, 0.01
"""Small data sets get at least so many cases of a kind a day on average, as long as its share stays below MOST."""
KINDS = (*RATES, "correction", "delayed")
"""All that a truth table may name of rows; late there means that the record arrives."""
TRUTH = ("data_set", "kind", "entity", "ts", "file")
"""Columns of a truth table."""


@dataclass(frozen=True)
class Trace:
    """What one clean row leaves in one drop."""

    dirt: str | None = None
    """Kind in the truth table; None for a record as it should be."""
    days_later: int = 0
    """In whose drop it lies."""
    spoilt: bool = False
    """Whether it has the kind's own texts or the true ones."""
    present: bool = True
    """False where the dirt is that the record is not there."""


OUTCOMES: dict[str, tuple[Trace, ...]] = {
    "duplicate": (Trace(), Trace("duplicate")),
    "superseded": (Trace("superseded", spoilt=True), Trace("correction", days_later=1)),
    "missing_step": (Trace("missing_step", present=False),),
    "late": (Trace("delayed", present=False), Trace("late", days_later=1)),
}
"""Kinds that leave other traces than one spoilt record."""


@dataclass(frozen=True)
class Soil:
    """Where dirt falls: the rows of one data set."""

    data_set: str
    """As in city/traffic."""
    file: str
    """Name of each day's file."""
    entity: str
    """Column that names the entity."""
    kinds: Mapping[str, Mapping[str, Column]]
    """The kinds that this data set gets, of RATES, each with the columns that it spoils and what is written there."""
    rows_a_day: float
    """About how many rows a clean day has."""
    steps: Steps | None = None
    """For kinds of `episodes.KINDS`."""
    rates: Mapping[str, float] = field(default_factory=lambda: RATES)
    """Share of rows by kind."""

    def share(self, kind: str) -> float:
        """Share of rows that this kind befalls here."""
        usual, rows = self.rates[kind], self.steps.stuck if kind == "stuck" and self.steps else 1
        return max(usual, min(LEAST * rows / self.rows_a_day, MOST)) if usual else 0.0


def plus(column: str, more: int) -> Column:
    """A whole number of text, made larger."""
    return (F.col(column).cast("long") + more).cast("string")


def plant(clean: DataFrame, soil: Soil, first: date, days: int, chance: Chance) -> tuple[DataFrame, DataFrame]:
    """The records in the drops of `days` days from `first` on, and the truth about them.

    `clean` has entity, ts (UTC), day and what is written, from the day before `first` on: late records and corrections
    are of that day. Records: these columns, `drop`, the day in whose file the record lies, and `malformed`, whether its
    line is to be broken. Truth: TRUTH and `drop`, one row per planted case, with the entity as it is written and the
    true time; pairs count twice, once in each drop: superseded and correction, delayed and late.
    """
    wanted = F.col("drop").between(F.lit(first), F.lit(first + timedelta(days=days - 1)))
    soiled = _soiled(clean, soil, chance).where(wanted)
    malformed = F.coalesce(F.col("dirt") == "malformed", F.lit(False))
    records = soiled.where("present").withColumn("malformed", malformed).drop("dirt", "present")
    truth = soiled.where("dirt IS NOT NULL").select(
        F.lit(soil.data_set).alias("data_set"),
        F.col("dirt").alias("kind"),
        F.col(soil.entity).alias("entity"),
        iso(F.col("ts")).alias("ts"),
        F.concat_ws("/", F.lit(soil.data_set), F.col("drop").cast("string"), F.lit(soil.file)).alias("file"),
        "drop",
    )
    return records, truth


def _soiled(clean: DataFrame, soil: Soil, chance: Chance) -> DataFrame:
    """Adds drop, dirt (kind or null) and present (false where the dirt is that the record is absent)."""
    spoilt: dict[str, Column] = {}
    for kind, texts in soil.kinds.items():
        for column, text in texts.items():
            spoilt[column] = F.when(F.col("_kind") == kind, text).otherwise(spoilt.get(column, F.col(column)))
    written = {column: F.when(F.col("_trace.spoilt"), text).otherwise(F.col(column)) for column, text in spoilt.items()}
    kept = [written.get(name, F.col(name)).alias(name) for name in clean.columns]
    return (
        clean.transform(lambda rows: _with_kind(rows, soil, chance))
        .withColumn("_trace", F.explode(_traces(soil)))
        .select(
            *kept,
            F.date_add("day", F.col("_trace.days_later")).alias("drop"),
            F.col("_trace.dirt").alias("dirt"),
            F.col("_trace.present").alias("present"),
        )
    )


def _traces(soil: Soil) -> Column:
    """The traces that a row of that `_kind` leaves; as SQL, which is quicker to build than columns of literals."""
    known = {kind: traces for kind, traces in OUTCOMES.items() if kind in soil.kinds}
    cases = [f"WHEN _kind = '{kind}' THEN {_structs(traces)}" for kind, traces in known.items()]
    usual = "array(named_struct('dirt', _kind, 'days_later', 0, 'spoilt', true, 'present', true))"
    return F.expr(f"CASE WHEN _kind IS NULL THEN {_structs((Trace(),))} {' '.join(cases)} ELSE {usual} END")


def _structs(traces: tuple[Trace, ...]) -> str:
    def told(trace: Trace) -> str:
        name = "CAST(NULL AS STRING)" if trace.dirt is None else f"'{trace.dirt}'"
        given = f"'days_later', {trace.days_later}, 'spoilt', {trace.spoilt}, 'present', {trace.present}"
        return f"named_struct('dirt', {name}, {given})"

    return f"array({', '.join(map(told, traces))})"


def _with_kind(rows: DataFrame, soil: Soil, chance: Chance) -> DataFrame:
    """Adds `_kind`, the kind that befalls a row, null for most; and `_watch` where there are steps."""
    entity = F.col(soil.entity)
    uniform = chance.uniform(f"dirt/{soil.data_set}", entity, F.col("ts"))
    kind, upper = F.lit(None).cast("string"), 0.0
    for name in soil.kinds:
        if name not in episodes.KINDS:
            lower, upper = upper, upper + soil.share(name)
            kind = F.when((uniform >= lower) & (uniform < upper), name).otherwise(kind)
    if soil.steps is None:
        return rows.withColumn("_kind", kind)
    rates = {name: soil.share(name) for name in episodes.KINDS if name in soil.kinds}
    told = {"_watch": soil.steps.watch(), "_offset": soil.steps.offset(), "_whole": soil.steps.whole()}
    has, of_episode = episodes.befalling(soil.steps, rates, entity, soil.data_set, chance)
    return rows.withColumns(told).withColumn("_kind", F.when(has, of_episode).otherwise(kind))
