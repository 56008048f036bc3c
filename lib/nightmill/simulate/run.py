"""The command: systems of a city and its plants, day by day, with their dirt and the truth about it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from nightmill.errors import ConfigError
from nightmill.simulate import damage, dirt
from nightmill.simulate.chance import Chance
from nightmill.simulate.drops import Drops, write, write_static
from nightmill.simulate.faults import Fault, check_faults, making, plan, spoil_files, write_truth
from nightmill.simulate.systems import SYSTEMS, chosen, sized

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Simulated:
    """What was written."""

    folders: tuple[str, ...]
    """One per day and data set, the static tables' and the truth's among them."""
    records: dict[str, int]
    """Records in the drops by data set, those in files too many not counted."""
    dirt: dict[str, dict[str, int]]
    """Planted cases by data set and kind (as in the truth tables), for data sets that get dirt."""
    faults: tuple[Fault, ...] = ()
    """What goes wrong on purpose."""


def simulate(
    spark: SparkSession,
    raw: str,
    *,
    start: date,
    days: int,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    only: Sequence[str] = (),
    faults: Mapping[str, date] | None = None,
) -> Simulated:
    """Writes the drops of `days` days from `start` on under `raw`, replacing those that are there.

    `sizes` are by system, as in {"traffic": 1000}; SYSTEMS has the usual ones. `only` names data sets or domains;
    without it all are written. Files: `city/traffic/{day}/traffic.csv` and so on, static tables as
    `city/roads/roads.csv`, and for each day `truth/{day}/dirt.csv` with every planted case of these data sets.
    `faults` are first days by kind, as in {"drift": date(2026, 3, 15)}; `faults.BEFALLEN` has the kinds, and
    `truth/{day}/faults.csv` of a day with a fault says what it befalls.
    The content depends on the arguments and the day alone: days written one by one equal days written together, and a
    drop's late rows and corrections are of the day before it, the first one's too. Raises ConfigError for an unknown
    name, for a size below 1 and for a fault that these drops would not show.
    """
    if days < 1:
        raise ConfigError(f"days is {days}: a simulation needs at least one", where="--days")
    size_of, wanted, chance = sized(sizes or {}), chosen(only), Chance(seed)
    check_faults(faults or {}, wanted, start, days)
    written_days = [start + timedelta(days=n) for n in range(days)]
    with _expressions_compiled_in_parts(spark):
        found = plan(spark, faults or {}, size_of, chance)
        return _write_all(spark, raw, size_of, wanted, written_days, chance, found)


def _write_all(
    spark: SparkSession,
    raw: str,
    size_of: Mapping[str, int],
    wanted: Sequence[str],
    days: list[date],
    chance: Chance,
    found: Sequence[Fault],
) -> Simulated:
    folders: list[str] = []
    records, truths = {}, {}
    for name, system in SYSTEMS.items():
        for data_set, static in system.static.items():
            if data_set in wanted:
                folders.append(write_static(spark, raw, static(spark, size_of[name], chance)))
        for data_set, daily in system.daily.items():
            if data_set in wanted:
                drops = making(data_set, daily, found)(spark, days[0], len(days), size_of[name], chance)
                written, records[data_set] = _write_counted(spark, raw, drops, days)
                spoil_files(spark, raw, data_set, days, found)
                folders += written
                log.info("%s: %d records in %d drops", data_set, records[data_set], len(days))
                truths[data_set] = _truth(spark, raw, drops, days, chance)
    truth_folders, planted = _write_truth(spark, raw, {k: t for k, t in truths.items() if t is not None}, days)
    write_truth(spark, raw, days, found)
    return Simulated((*folders, *truth_folders), records, planted, tuple(found))


@contextmanager
def _expressions_compiled_in_parts(spark: SparkSession) -> Iterator[None]:
    """Long expressions in one method are too large for the JVM to compile, which makes them seven times slower."""
    name = "spark.sql.codegen.wholeStage"
    before = spark.conf.get(name, None)
    spark.conf.set(name, "false")
    try:
        yield
    finally:
        spark.conf.set(name, before) if before is not None else spark.conf.unset(name)


def _write_counted(spark: SparkSession, raw: str, drops: Drops, days: list[date]) -> tuple[list[str], int]:
    seen = Observation()
    observed = replace(drops, rows=drops.rows.observe(seen, F.count(F.lit(1)).alias("records")))
    return write(spark, raw, observed, days), seen.get["records"]


def _truth(spark: SparkSession, raw: str, drops: Drops, days: list[date], chance: Chance) -> DataFrame | None:
    """Plants the dirt of whole files, and tells the truth about rows and files."""
    found = damage.cases(drops, days, chance)
    damage.write(spark, raw, drops, found)
    if not found or drops.truth is None:
        return drops.truth
    return drops.truth.unionByName(damage.truth(spark, drops.data_set, found))


def _write_truth(
    spark: SparkSession, raw: str, truths: dict[str, DataFrame], days: list[date]
) -> tuple[list[str], dict[str, dict[str, int]]]:
    """`truth/{day}/dirt.csv` of all systems together, and the number of cases by data set and kind."""
    if not truths:
        return [], {}
    together = reduce(DataFrame.unionByName, truths.values())
    folders = write(spark, raw, Drops("truth", "dirt.csv", together, dirt.TRUTH, dirt.TRUTH), days)
    written = spark.read.csv(folders, header=True).groupBy("data_set", "kind").count().collect()
    found = {(row["data_set"], row["kind"]): int(row["count"]) for row in written}
    kinds = (*dirt.KINDS, *damage.KINDS)
    return folders, {
        data_set: {kind: found[data_set, kind] for kind in kinds if (data_set, kind) in found} for data_set in truths
    }
