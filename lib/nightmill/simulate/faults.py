"""What goes wrong on purpose: a district's sensors drift, a machine wears out, a file changes its format.

Each is something that the night's monitoring should tell somebody of. What it befalls is a function of seed and sizes;
`truth/{day}/faults.csv` names it on each day that it lasts.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.errors import ConfigError
from nightmill.simulate import machines, maps, traffic
from nightmill.simulate.chance import Chance
from nightmill.simulate.drops import Drops
from nightmill.simulate.places import file_system, put, rooted

LOW, LOWER, LOWEST = 0.15, 0.05, 0.4
"""Share of the speed that drifting detectors lose on the first day, what each day adds, and where that ends."""
HEALTHY, FASTER = 120, 8
"""Hours that a machine must have left before it wears out, and how many hours of usual wear each one then is."""
RENAMED = ("component", "part")
"""Column of factory/failures, and what it is called in the changed file."""
TRUTH = ("kind", "data_set", "name", "since", "what")
"""Columns of a truth table."""
BEFALLEN = {"drift": traffic.NAME, "wear": machines.READINGS, "format": machines.FAILURES}
"""Kinds, and the data set that each befalls."""
_TRACE = {"wear": timedelta(days=1), "format": timedelta(0)}
"""How long a fault of one day shows: late records, and the failure itself, come with the day after."""

Daily = Callable[[SparkSession, date, int, int, Chance], Drops]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    """drift: a district's detectors read too low, more each day; wear: a healthy machine wears out within the day and
    fails at its end; format: the day's file of the machines' failures has a column under another name."""
    data_set: str
    name: str
    """District, machine or file."""
    since: date
    """Its first day; wear and format have no other."""
    what: str
    """One line for people."""

    def lasts(self, day: date) -> bool:
        """Whether a day's drop shows it."""
        return day >= self.since if self.kind == "drift" else day == self.since


def parse_faults(items: Sequence[str]) -> dict[str, date]:
    """`drift=2026-03-15` texts as first days by kind; raises ConfigError for what is not KIND=DAY."""
    found: dict[str, date] = {}
    for item in items:
        kind, _, text = item.partition("=")
        try:
            day = date.fromisoformat(text)
        except ValueError:
            day = None
        if day is None or day.isoformat() != text:
            raise ConfigError(f"--fault {item}: expected KIND=DAY", where="--fault", fix="as in drift=2026-03-15")
        if kind in found:
            raise ConfigError(f"--fault {item}: {kind} is given twice", where="--fault", fix="leave one of them out")
        found[kind] = day
    return found


def check_faults(faults: Mapping[str, date], data_sets: Sequence[str], start: date, days: int) -> None:
    """Raises ConfigError for an unknown kind, and for one that would leave no trace in these drops."""
    last = start + timedelta(days=days - 1)
    for kind, day in faults.items():
        where = f"--fault {kind}={day}"
        if kind not in BEFALLEN:
            near = difflib.get_close_matches(kind, BEFALLEN, 1, 0.5)
            fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(BEFALLEN)}"
            raise ConfigError(f"there is no fault '{kind}'", where=where, fix=fix)
        if BEFALLEN[kind] not in data_sets:
            what = f"{kind} befalls {BEFALLEN[kind]}, which is not simulated here"
            raise ConfigError(what, where=where, fix=f"name {BEFALLEN[kind]} among the data sets")
        if day > last or (kind != "drift" and day + _TRACE[kind] < start):
            what = f"{kind} of {day} would not show in the drops of {start} to {last}"
            raise ConfigError(what, where=where, fix="choose one of these days")


def plan(spark: SparkSession, faults: Mapping[str, date], sizes: Mapping[str, int], chance: Chance) -> list[Fault]:
    """What these kinds befall."""
    found = []
    for kind, day in sorted(faults.items()):
        if kind == "drift":
            name = _district(spark, sizes["traffic"], chance)
            what = f"its detectors read {LOW:.0%} too low on the first day, {LOWER:.0%} more on each further one"
        elif kind == "wear":
            name = _healthy(spark, day, sizes["machines"], chance)
            what = (
                f"wears {FASTER} times as fast as usual, is all but broken in the afternoon and fails at the day's end"
            )
        else:
            name, what = machines.FAILURES_FILE, "column '{}' is called '{}'".format(*RENAMED)
        found.append(Fault(kind, BEFALLEN[kind], name, day, what))
    return found


def making(data_set: str, usual: Daily, found: Sequence[Fault]) -> Daily:
    """What makes a data set's drops under these faults; `usual` where none befalls its rows."""
    for fault in found:
        if fault.kind == "drift" and data_set == traffic.NAME:
            return partial(_drifting, fault)
        if fault.kind == "wear" and data_set == machines.READINGS:
            return partial(machines.reading_drops, fault=partial(_worn, fault))
        if fault.kind == "wear" and data_set == machines.FAILURES:
            return partial(machines.failure_drops, fault=partial(_worn, fault))
    return usual


def spoil_files(spark: SparkSession, raw: str, data_set: str, days: Sequence[date], found: Sequence[Fault]) -> None:
    """Renames the column in the written drops that a change of format befalls."""
    for fault in found:
        if fault.kind == "format" and fault.data_set == data_set and fault.since in days:
            file = f"{rooted(raw)}/{data_set}/{fault.since}/{fault.name}"
            head, *lines = [row["value"] for row in spark.read.text(file).collect()]
            put(spark, file, "".join(f"{line}\n" for line in [head.replace(*RENAMED), *lines]).encode())


def write_truth(spark: SparkSession, raw: str, days: Sequence[date], found: Sequence[Fault]) -> None:
    """`truth/{day}/faults.csv` with TRUTH for each day with a fault; a former one is removed."""
    for day in days:
        file = f"{rooted(raw)}/truth/{day}/faults.csv"
        told = [",".join((f.kind, f.data_set, f.name, str(f.since), f'"{f.what}"')) for f in found if f.lasts(day)]
        if told:
            put(spark, file, "".join(f"{line}\n" for line in [",".join(TRUTH), *told]).encode())
        else:
            fs, path = file_system(spark, file)
            fs.delete(path(file), False)


def _district(spark: SparkSession, count: int, chance: Chance) -> str:
    """That of a detector drawn by lot, so rather a large one."""
    number = int(chance.once("fault/drift") * count)
    rows = maps.detectors(spark, count, chance).rows.orderBy("detector").offset(number)
    return str(rows.select("district").head()["district"])  # type: ignore[index]


def _healthy(spark: SparkSession, day: date, count: int, chance: Chance) -> str:
    """A machine drawn by lot from those that would run five days more; from the others where there are none."""
    rows = machines.lives(spark, day, 1, count, chance).groupBy("machine").agg(F.min("remaining").alias("least"))
    longest = F.least(F.col("least"), F.lit(HEALTHY)).desc()
    return str(rows.orderBy(longest, chance.uniform("fault/wear", F.col("machine"))).head()["machine"])  # type: ignore[index]


def _drifting(fault: Fault, spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    detectors = maps.detectors(spark, count, chance).rows
    return traffic.drops(spark, first, days, count, chance, fault=partial(lowered, fault, detectors))


def lowered(fault: Fault, detectors: DataFrame, speeds: DataFrame) -> DataFrame:
    """Speeds (detector, day, speed), too low from the fault's first day on where the detector is of its district."""
    drifting = detectors.where(F.col("district") == fault.name).select("detector", F.lit(True).alias("_drifts"))
    lost = F.least(F.datediff("day", F.lit(fault.since)) * LOWER + LOW, F.lit(LOWEST))
    low = F.round(F.col("speed") * (F.lit(1.0) - lost), 1)
    drifts = F.col("_drifts") & (F.col("day") >= F.lit(fault.since))
    joined = speeds.join(F.broadcast(drifting), "detector", "left")
    return joined.withColumn("speed", F.when(drifts, low).otherwise(F.col("speed"))).select(*speeds.columns)


def _worn(fault: Fault, lives: DataFrame) -> DataFrame:
    """Hours that remain, of which an hour of the fault's day takes several, but for the last; then all is as it was."""
    begin = (fault.since - date(1970, 1, 1)).days * 24
    hour, end = F.col("hour"), begin + 24
    left = F.greatest(F.lit(HEALTHY) - (hour - begin) * FASTER, F.when(hour == end, 0).otherwise(1)).cast("long")
    here = (F.col("machine") == fault.name) & hour.between(begin, end)
    remaining = F.when(here, F.least(F.col("remaining"), left)).otherwise(F.col("remaining"))
    return lives.withColumn("remaining", remaining)
