"""Dirt that the simulation planted against dirt that land and clean found: `make bench-dirt`.

Counts are compared file by file and rule by rule; what is found beyond what was planted are clean records refused.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow.csv as pacsv
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nightmill import commands, provenance
from nightmill.commands import Outcome, Work
from nightmill.config import Configuration, DataSet
from nightmill.lake.ops import events
from nightmill.lake.tables import Lake
from nightmill.simulate import DATA_SETS, simulate

RULES = {
    "duplicate": "duplicate",
    "superseded": "duplicate",
    "missing_step": "gap",
    "out_of_range": "between",
    "not_a_number": "type",
    "missing_value": "required",
    "stuck": "stuck",
    "spike": "spike",
    "counter_back": "monotone",
    "unknown_entity": "known",
    "bad_category": "one_of",
    "bad_code": "matches",
    "broken_relation": "relation",
    "malformed": "malformed",
    "bad_time": "time",
    "future_time": "time",
    "unreadable_file": "unreadable_file",
    "renamed_column": "schema",
    "same_file_again": "landed before",
}
"""Kind -> what finds it. A late record, and a correction, is found where it is accepted."""
START = date(2026, 3, 2)


@dataclass
class Compared:
    """One data set's planted and found cases by rule."""

    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    beyond: Counter[str] = field(default_factory=Counter)
    """Found, but not planted."""
    kinds: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def truth(raw: Path, days: list[date]) -> dict[str, dict[tuple[str, str], Counter[str]]]:
    """data set -> (rule, file) -> kinds. Corrections of the last day come after it: they are not there yet."""
    found: dict[str, dict[tuple[str, str], Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for day in days:
        table = pacsv.read_csv(raw / "truth" / str(day) / "dirt.csv")
        for row in (
            table.select(["data_set", "kind", "file"])
            .group_by(["data_set", "kind", "file"])
            .aggregate([([], "count_all")])
            .to_pylist()
        ):
            kind = row["kind"]
            if kind in RULES and not (kind == "superseded" and day == days[-1]):
                found[row["data_set"]][RULES[kind], row["file"]][kind] += row["count_all"]
    return found


def compare(planted: dict[tuple[str, str], Counter[str]], found: Counter[tuple[str, str]]) -> Compared:
    """By rule: cases planted, those of them found, and those found beyond."""
    result = Compared()
    for (rule, file), kinds in planted.items():
        n = kinds.total()
        result.planted[rule] += n
        result.found[rule] += min(n, found[rule, file])
        result.kinds[rule] |= kinds.keys()
    for (rule, file), n in found.items():
        result.beyond[rule] += max(0, n - planted.get((rule, file), Counter()).total())
    return result


def told(lake: Lake, name: str, raw: Path) -> Counter[tuple[str, str]]:
    """(rule, file) -> records that clean refused or found to be duplicates; files that land refused or knew."""
    raw_files = {str(p.relative_to(raw)) for p in (raw / name).rglob("*") if p.is_file()}
    found: Counter[tuple[str, str]] = Counter()
    for row in events(lake, "records", subject=f"data/{name}"):
        if row["fate"] == "refused":
            found[row["rule"], row["file"]] += row["records"]
        elif row["fate"] == "duplicate":
            found["duplicate", row["file"]] += row["records"]
    quarantine = lake.table("quarantine", name)
    whole: set[str] = set()
    if quarantine.exists():
        for row in quarantine.delta().to_pyarrow_table(columns=["stage", "rule", "_file"]).to_pylist():
            if row["stage"] == "land":
                found[row["rule"], row["_file"]] += 1
                whole.add(row["_file"])
    files = lake.table("bronze", name).delta().to_pyarrow_table(columns=["_file", "_file_hash"])
    landed = dict(row.values() for row in files.group_by(files.column_names).aggregate([]).to_pylist())
    for file in raw_files - landed.keys() - whole:
        if sha256((raw / file).read_bytes()).hexdigest() in landed.values():
            found["landed before", file] += 1
    return found


def checked(outcome: Outcome) -> Outcome:
    """Raises the first failure."""
    for error in outcome.failures.values():
        raise error
    return outcome


def main(arguments: list[str]) -> int:
    """Returns 1 where a kind is found in less than 99 % of its cases, or 0.1 % of clean records are refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/dirt"))
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--size", action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.CRITICAL)
    logging.getLogger("nightmill").setLevel(logging.INFO)
    os.environ.setdefault("NIGHTMILL_PSEUDONYM_KEY", "a key for simulated people only")
    shutil.rmtree(given.folder, ignore_errors=True)
    raw, lake = given.folder / "raw", given.folder / "lake"
    configuration = Configuration.load(raw=str(raw.absolute()), lake=str(lake))
    sizes = {name: int(size) for name, size in (text.split("=") for text in given.size)}
    only = given.only or list(DATA_SETS)
    days = [START + timedelta(days=n) for n in range(given.days)]
    begun = time.monotonic()
    spark = Work(configuration, "simulate").spark()
    made = simulate(spark, str(raw.absolute()), start=START, days=given.days, sizes=sizes, only=only)
    simulated = time.monotonic() - begun
    planted = truth(raw, days)
    rows, poor, records, refused_clean = [], [], 0, 0
    for data_set in Work(configuration, "land").data_sets([f"data/{name}" for name in only]):
        name, target = data_set.name, [f"data/{data_set.name}"]
        started = time.monotonic()
        checked(commands.land(Work(configuration, "land", days if data_set.source.by_day else []), target))
        cleaned = checked(commands.clean(Work(configuration, "clean"), target)).results[target[0]]
        seconds, total = time.monotonic() - started, cleaned.total()
        assert total.parsed == total.accepted + sum(total.refused.values()) + total.duplicates, name
        records += total.parsed
        found = told(Lake.open(str(lake)), name, raw)
        if data_set.contract.time and not data_set.clean.events:
            found += gaps(spark, raw, lake, data_set, days)
        result = compare(planted[name], found)
        for rule, n in sorted(result.planted.items()):
            share = result.found[rule] / n
            kinds = ", ".join(sorted(result.kinds[rule]))
            rows.append(f"| {name} | {kinds} | {rule} | {n:,} | {share:.2%} | {result.beyond[rule]:,} |\n")
            if share < 0.99:
                poor.append(f"{name} {rule}: {share:.2%}")
        beyond = sum(result.beyond.values())
        refused_clean += beyond
        rows.append(f"| {name} | **all** | {total.parsed:,} records, {seconds:.0f} s | | | {beyond:,} |\n")
        if beyond > 0.001 * total.parsed:
            poor.append(f"{name}: {beyond} of {total.parsed} clean records are refused")
    head = (
        f"# Planted dirt against found dirt\n\n{provenance.stamp()}\n{given.days} simulated days, "
        f"sizes {sizes or 'as usual'}: {records:,} records, {sum(made.records.values()):,} rows before dirt; simulated "
        f"in {simulated:.0f} s; clean records refused: {refused_clean:,} ({refused_clean / max(1, records):.4%}). "
        "The records of every data set balance: parsed = accepted + refused + duplicates.\n\n"
        "| data set | planted | found by | cases | found | beyond |\n|---|---|---|---|---|---|\n"
    )
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "dirt.md").write_text(head + "".join(rows), encoding="utf-8")
    print(head + "".join(rows) + "\n".join(poor))
    return 1 if poor else 0


def gaps(spark: SparkSession, raw: Path, lake: Path, data_set: DataSet, days: list[date]) -> Counter[tuple[str, str]]:
    """Planted missing steps at which silver has no record: its rows there, if any, are filled."""
    table = Lake.open(str(lake)).table("silver", data_set.name)
    files = [str(raw.absolute() / "truth" / str(day) / "dirt.csv") for day in days]
    planted = spark.read.csv(files, header=True).where(
        (F.col("data_set") == data_set.name) & (F.col("kind") == "missing_step")
    )
    entity = F.concat_ws("/", *[F.col(f"`{name}`").cast("string") for name in data_set.contract.entity])
    records = spark.read.format("delta").load(table.uri).where(~F.col("_filled"))
    there = records.select(entity.alias("entity"), "ts")
    missing = planted.withColumn("ts", F.to_timestamp("ts")).join(there, ["entity", "ts"], "left_anti")
    return Counter({("gap", row["file"]): row["count"] for row in missing.groupBy("file").count().collect()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
