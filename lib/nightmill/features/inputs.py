"""What features and targets read: the use case's silver tables by the names of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.config import DataSet, Time, UseCase

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass
class Inputs:
    """The use case's silver tables, pinned."""

    use_case: UseCase
    data_sets: dict[str, DataSet]
    frames: dict[str, DataFrame]
    condition: str = "true"
    """Holds for rows of the days that are made."""

    @property
    def time(self) -> Time:
        """Time of the series."""
        return self.data_sets[next(iter(self.use_case.inputs))].clock

    def series(self) -> DataFrame:
        """The series with `entity`, its own columns, `ts`, `day`, `_filled`; without a time midnight UTC of its day."""
        rows = self.static(next(iter(self.use_case.inputs)))
        return rows if "ts" in rows.columns else rows.withColumn("ts", F.to_timestamp("day"))

    def wanted(self) -> DataFrame:
        """The series on the days that are made: what a mean over other entities reads, two columns of it."""
        return self.series().where(self.condition)

    def static(self, name: str) -> DataFrame:
        """An input with its entity columns joined to the one text `entity`."""
        return self.frames[name].withColumn("entity", entity(self.data_sets[name]))

    def events(self, name: str) -> DataFrame:
        """An input of events: `entity`, `ts`."""
        return self.static(name)

    def graph(self, name: str) -> tuple[DataFrame, str]:
        """Edges (source, target, weight) with text nodes, and the column of the series that nodes name."""
        source, target = self.data_sets[name].contract.entity[:2]
        edges = self.frames[name].select(
            F.col(f"`{source}`").cast("string").alias("source"),
            F.col(f"`{target}`").cast("string").alias("target"),
            F.col("weight"),
        )
        return edges, self.use_case.inputs[name].by or "entity"


def entity(data_set: DataSet) -> Column:
    """The source's own id; several key columns are joined by `/`."""
    return F.concat_ws("/", *[F.col(f"`{name}`").cast("string") for name in data_set.contract.entity])
