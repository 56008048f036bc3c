"""What features and targets read: the use case's silver tables by the names of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from holidays import country_holidays
from pyspark.sql import functions as F

from nightmill.clock import Clock
from nightmill.config import DataSet, Time, UseCase
from nightmill.errors import DataRefused

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

HOUR, DAY = 3_600_000_000, 86_400_000_000
"""Microseconds."""


@dataclass
class Inputs:
    """The use case's silver tables, pinned."""

    use_case: UseCase
    data_sets: dict[str, DataSet]
    frames: dict[str, DataFrame]
    condition: str = "true"
    """Holds for rows of the days that are made."""
    span: tuple[date, date] | None = None
    """First and last of these days; all without it."""

    @property
    def time(self) -> Time:
        """Time of the series."""
        return self.data_sets[next(iter(self.use_case.inputs))].clock

    def series(self) -> DataFrame:
        """The series with `entity`, its own columns, `ts`, `day`, `_filled`; without a time midnight UTC of its day.

        Columns of static inputs that features read are `input.column`.
        """
        first = next(iter(self.use_case.inputs))
        rows = self._stepped(first) if self.use_case.series.every else self.static(first)
        rows = rows if "ts" in rows.columns else rows.withColumn("ts", F.to_timestamp("day"))
        if self.use_case.series.complete:
            rows = self._complete(rows)
        for name in self.use_case.statics:
            key = self.data_sets[name].contract.entity
            read = {c for f in self.use_case.features for c in f.reads if c.startswith(f"{name}.")}
            columns = [F.col(f"`{column.partition('.')[2]}`").alias(column) for column in sorted(read)]
            rows = rows.join(F.broadcast(self.frames[name].select(*key, *columns)), key, "left")
        return rows

    def _complete(self, rows: DataFrame) -> DataFrame:
        """Those of entities whose target is known as often as there are times in the table."""
        times = rows.agg(F.countDistinct("ts")).first()
        known = F.when(~F.col("_filled") & F.col(f"`{self.use_case.target.column}`").isNotNull(), 1)
        whole = rows.groupBy("entity").agg(F.count(known).alias("_known"))
        whole = whole.where(F.col("_known") == F.lit(times[0] if times else 0)).select("entity")
        return rows.join(F.broadcast(whole), "entity", "left_semi")

    def _stepped(self, name: str) -> DataFrame:
        """A row at every step for each entity, from its first record on; only its key is known of it.

        Steps are counted from midnight of 1 January 1970, UTC or, where they are days, local. They begin when all
        inputs have begun, and end with the last record of any: what was not recorded yet cannot be told from what did
        not happen.
        """
        key, clock = self.data_sets[name].contract.entity, Clock.of(self.time.every, self.time.zone)
        (begin, end), every = clock.even(self._known).tolist(), clock.every
        if self.span is not None:
            first, last = ((day - date(1970, 1, 1)).days * DAY for day in self.span)
            begin, end = max(begin, first - DAY), min(end, last + 2 * DAY)
        keys = ["entity", *[f"`{column}`" for column in key]]
        known = F.from_utc_timestamp("ts", clock.zone) if clock.counts_days else F.col("ts")
        entities = self.static(name).groupBy(*keys).agg(F.min(F.unix_micros(known)).alias("_first"))
        born = F.ceil(F.greatest("_first", F.lit(begin)) / every) * every
        steps = F.explode(F.sequence(F.col("_from"), F.lit(end), F.lit(every)))
        rows = entities.withColumn("_from", born.cast("long")).where(F.col("_from") <= end)
        rows = rows.withColumn("ts", steps).withColumn("ts", F.timestamp_micros("ts")).drop("_first", "_from")
        if clock.counts_days:
            rows = rows.withColumn("ts", F.to_utc_timestamp("ts", clock.zone))
        local = F.from_utc_timestamp("ts", self.time.zone)
        return rows.withColumns({"day": F.to_date(local), "_filled": F.lit(False)})

    def around(self, name: str, back: timedelta = timedelta(0), ahead: timedelta = timedelta(0)) -> DataFrame:
        """Of an input's rows those that rows of the days that are made can see, so far back and ahead."""
        if self.span is None:
            return self.frames[name]
        first, last = self.span[0] - back - timedelta(days=1), self.span[1] + ahead + timedelta(days=1)
        return self.frames[name].where(F.col("day").between(F.lit(first), F.lit(last)))

    def reached(self, back: timedelta) -> str:
        """A condition that holds for rows of the days that are made, and for those so far before them."""
        if self.span is None or not back:
            return self.condition
        first = self.span[0] - back - timedelta(days=1)
        return f"day BETWEEN DATE'{first}' AND DATE'{self.span[1]}'"

    def size(self) -> tuple[int, int]:
        """Rows and days of a series with a step of its own, about."""
        (first, last), name = self._known, next(iter(self.use_case.inputs))
        key = [F.col(f"`{column}`") for column in self.data_sets[name].contract.entity]
        entities = self.frames[name].select(*key).distinct().count()
        return entities * ((last - first) // micros(self.time.every) + 1), (last - first) // DAY + 1

    @cached_property
    def holidays(self) -> list[date]:
        """Public holidays of the years of the series and of the one after; none where its time names no country."""
        if self.time.holidays is None:
            return []
        if self.use_case.series.every:
            first, last = (datetime.fromtimestamp(at // 1_000_000, UTC).year for at in self._known)
        else:
            days = self.frames[next(iter(self.use_case.inputs))].agg(F.min("day"), F.max("day")).first()
            if days is None or days[0] is None:
                return []
            first, last = days[0].year, days[1].year
        country, _, region = self.time.holidays.partition("-")
        return sorted(country_holidays(country, subdiv=region or None, years=range(first, last + 2)))

    @cached_property
    def until(self) -> int | None:
        """The time up to which the series knows what happened, µs UTC; None without a row."""
        if self.use_case.series.every:
            return self._known[1]
        return self._first_and_last(next(iter(self.use_case.inputs)))[1]

    @cached_property
    def _known(self) -> tuple[int, int]:
        """From when to when, µs UTC, something is known of every entity: for a series with a step of its own."""
        timed = [name for name in self.frames if self.data_sets[name].contract.time]
        spans = [span for span in map(self._first_and_last, timed) if span[0] is not None]
        if not spans:
            tables = ", ".join(f"silver/{self.data_sets[name].name}" for name in timed)
            what = f"{self.use_case.name}: nothing has been recorded"
            raise DataRefused(what, where=tables, fix="land and clean days that have records")
        return max(first for first, _ in spans), max(last for _, last in spans)

    def _first_and_last(self, name: str) -> tuple[int, int] | tuple[None, None]:
        ts = F.unix_micros("ts")
        row = self.frames[name].agg(F.min(ts), F.max(ts)).first()
        return (None, None) if row is None else (row[0], row[1])

    def wanted(self) -> DataFrame:
        """The series on the days that are made: what a mean over other entities reads, two columns of it."""
        return self.series().where(self.condition)

    def static(self, name: str) -> DataFrame:
        """An input with its entity columns joined to the one text `entity`."""
        return self.frames[name].withColumn("entity", entity(self.data_sets[name]))

    def events(self, name: str) -> DataFrame:
        """An input of events: `entity`, `ts`."""
        return self.static(name)

    def shared(self, name: str, without: str | None = None) -> list[str]:
        """Key columns by which an input's rows belong to entities of the series."""
        key = self.data_sets[next(iter(self.use_case.inputs))].contract.entity
        return [column for column in self.data_sets[name].contract.entity if column in key and column != without]

    def graph(self, name: str) -> tuple[DataFrame, str]:
        """Edges (source, target, weight) with text nodes, and the column of the series that nodes name."""
        source, target = self.data_sets[name].contract.entity[:2]
        edges = self.frames[name].select(
            F.col(f"`{source}`").cast("string").alias("source"),
            F.col(f"`{target}`").cast("string").alias("target"),
            F.col("weight"),
        )
        return edges, self.use_case.inputs[name].by or "entity"


def micros(span: timedelta) -> int:
    """A duration in µs."""
    return span // timedelta(microseconds=1)


def entity(data_set: DataSet) -> Column:
    """The source's own id; several key columns are joined by `/`."""
    return F.concat_ws("/", *[F.col(f"`{name}`").cast("string") for name in data_set.contract.entity])
