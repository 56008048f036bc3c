"""The command: a city's traffic and a plant's machines, day by day, with their dirt and the truth about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from nightmill.errors import ConfigError
from nightmill.simulate import dirt, roads
from nightmill.simulate.chance import Chance
from nightmill.simulate.drops import Drops, write, write_static
from nightmill.simulate.machines import failure_drops, reading_drops
from nightmill.simulate.traffic import speed_drops

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Simulated:
    """What was written."""

    folders: tuple[str, ...]
    """One per day and data set, the road graph's and the truth's among them."""
    records: dict[str, int]
    """Records in the drops by data set."""
    dirt: dict[str, dict[str, int]]
    """Planted cases by data set and kind (as in the truth tables), for data sets that get dirt."""


def simulate(
    spark: SparkSession, raw: str, *, start: date, days: int, seed: int = 0, detectors: int = 40, machines: int = 40
) -> Simulated:
    """Writes the drops of `days` days from `start` on under `raw`, replacing those that are there.

    Files: `city/traffic/{day}/traffic.csv`, `city/roads/roads.csv`, `factory/machines/{day}/machines.parquet`,
    `factory/failures/{day}/failures.csv` and, for each day, `truth/{day}/dirt.csv` with every planted case.
    The content depends on the arguments and the day alone: days written one by one equal days written together, and a
    drop's late rows and corrections are of the day before it, the first one's too. Raises ConfigError for a size
    below 1.
    """
    for name, size in (("days", days), ("detectors", detectors), ("machines", machines)):
        if size < 1:
            raise ConfigError(f"{name} is {size}: a simulation needs at least one", where=f"--{name}")
    chance, written_days = (Chance(seed), [start + timedelta(days=n) for n in range(days)])
    folders = [write_static(spark, raw, "city/roads", "roads.csv", roads.edges(spark, detectors, chance))]
    systems = [
        speed_drops(spark, start, days, detectors, chance),
        reading_drops(spark, start, days, machines, chance),
        failure_drops(spark, start, days, machines, chance),
    ]
    records = {}
    for system in systems:
        seen = Observation()
        observed = replace(system, rows=system.rows.observe(seen, F.count(F.lit(1)).alias("records")))
        folders += write(spark, raw, observed, written_days)
        records[system.data_set] = seen.get["records"]
        log.info("%s: %d records in %d drops", system.data_set, records[system.data_set], days)
    truth_folders, planted = _write_truth(spark, raw, systems, written_days)
    return Simulated((*folders, *truth_folders), records, planted)


def _write_truth(
    spark: SparkSession, raw: str, systems: list[Drops], days: list[date]
) -> tuple[list[str], dict[str, dict[str, int]]]:
    """`truth/{day}/dirt.csv` of all systems together, and the number of cases by data set and kind."""
    truths = {system.data_set: system.truth for system in systems if system.truth is not None}
    together = reduce(DataFrame.unionAll, truths.values())
    seen = Observation()
    counts = [
        F.count_if((F.col("data_set") == data_set) & (F.col("kind") == kind)).alias(f"{data_set} {kind}")
        for data_set in truths
        for kind in dirt.KINDS
    ]
    rows = together.observe(seen, *counts)
    folders = write(spark, raw, Drops("truth", "dirt.csv", rows, dirt.TRUTH, dirt.TRUTH), days)
    found = {name: count for name, count in seen.get.items() if count}
    return folders, {
        data_set: {kind: found[f"{data_set} {kind}"] for kind in dirt.KINDS if f"{data_set} {kind}" in found}
        for data_set in truths
    }
