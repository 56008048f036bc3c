"""Dirt that needs clean neighbours: a sensor that is stuck for hours, a spike, a counter that once reads too low.

A local day is cut into watches of 24 steps. An entity has at most one episode in a watch, never in the watch's first or
last step, and no other dirt in that watch: so its neighbours are of the same local day and as clean as can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import midnight

WATCH = 24
"""Steps of a watch."""
KINDS = ("stuck", "spike", "counter_back")


@dataclass(frozen=True)
class Steps:
    """The regular steps of a series."""

    every: timedelta
    """From one row of an entity to its next."""
    zone: str
    """Whose days are cut into watches."""
    stuck: int = 16
    """Rows that a stuck sensor spoils."""

    def watch(self) -> Column:
        """int64 second since 1970 at which the watch of a row (`ts`, `day`) begins: constant through an episode."""
        return self._begin() + self._number() * WATCH * self._seconds

    def offset(self) -> Column:
        """int64 place of a row in its watch, from 0."""
        return self._step() - self._number() * WATCH

    def whole(self) -> Column:
        """Whether the day has all steps of the watch: one that clocks change may not."""
        end = F.unix_seconds(midnight(F.date_add("day", 1), self.zone))
        return self.watch() + WATCH * self._seconds <= end

    @property
    def _seconds(self) -> int:
        return int(self.every.total_seconds())

    def _begin(self) -> Column:
        return F.unix_seconds(midnight(F.col("day"), self.zone))

    def _step(self) -> Column:
        return F.floor((F.unix_seconds("ts") - self._begin()) / self._seconds).cast("long")

    def _number(self) -> Column:
        return F.floor(self._step() / WATCH).cast("long")


def befalling(
    steps: Steps, rates: dict[str, float], entity: Column, salt: str, chance: Chance
) -> tuple[Column, Column]:
    """Whether the row's watch has an episode, and its kind where it befalls this very row (else null).

    `rates` are shares of rows by kind of KINDS.
    """
    which = chance.uniform(f"episode/{salt}", entity, F.col("_watch"))
    where = chance.uniform(f"episode/{salt}/where", entity, F.col("_watch"))
    has, kind, upper = F.lit(False), F.lit(None).cast("string"), 0.0
    for name in KINDS:
        if name in rates:
            rows = steps.stuck if name == "stuck" else 1
            lower, upper = upper, upper + rates[name] * WATCH / rows
            here = F.col("_whole") & (which >= lower) & (which < upper)
            first = F.floor(where * (WATCH - 1 - rows)) + 1
            has = has | here
            kind = F.when(here & F.col("_offset").between(first, first + (rows - 1)), name).otherwise(kind)
    return has, kind
