"""Ten rules on millions of records: the stage `clean` against PySpark written by hand and DuckDB: `make bench-clean`.

The peers apply the same rules to the same bronze table in the same run and write accepted records; they keep no refused
record, count nothing and explain nothing.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import psutil
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill import commands, provenance
from nightmill.commands import Work
from nightmill.config import Configuration

FIRST = date(2026, 1, 5)
PER_DAY = 288
DATA_SET = """
title: Readings of detectors
source: {format: csv, path: "${raw}/readings/{day}.csv/*.csv", missing: [NA]}
contract:
  key: [detector, ts]
  time: {column: ts, every: 5 min, zone: Europe/Berlin, format: "yyyy-MM-dd HH:mm:ss"}
  columns:
    detector: {type: text}
    status: {type: text}
    speed: {type: float, unit: km/h}
    flow: {type: float, unit: "1"}
    occupancy: {type: float, unit: "1"}
    total: {type: int, unit: "1"}
clean:
  max_refused: 5 %
  rules:
    - range: {of: speed, between: [0, 200]}
    - range: {of: flow, between: [0, 500]}
    - range: {of: occupancy, between: [0, 1], then: clip}
    - matches: {of: detector, pattern: "D[0-9]{4}"}
    - one_of: {of: status, values: [ok, maintenance]}
    - relation: {that: "flow == 0 or speed > 0"}
    - known: {of: detector, in: data/bench/detectors}
    - stuck: {of: speed, for: 2 h, then: "null"}
    - spike: {of: occupancy, by: 0.6, then: "null"}
    - monotone: {of: total, then: "null"}
"""
MASTER = """
title: Detectors
source: {format: csv, path: "${raw}/detectors.csv"}
contract: {key: [detector], columns: {detector: {type: text}, road: {type: text}}}
"""
HEAD = """# Cleaning with ten rules

{stamp}
{rows:,} records of {detectors:,} detectors over {days} days, as text in bronze; medians of {repeats} runs
each, alternating. The peers only apply the rules and write what is left; the stage also keeps refused records with
their reasons and accounts for every record.

| | {few:,} records, s | {rows:,} records, s | times as long | against PySpark by hand |
|---|---|---|---|---|
"""


def made(spark: SparkSession, raw: Path, detectors: int, days: list[date]) -> None:
    """Daily csv files, three records in a thousand of them dirty."""
    rows = spark.range(len(days) * PER_DAY * detectors)
    n, step = F.col("id") % detectors, F.floor(F.col("id") / detectors)
    clock = F.expr(f"TIMESTAMP'{days[0]} 00:00:00'") + F.make_dt_interval(mins=step.cast("int") * 5)
    chance = F.pmod(F.xxhash64("id"), F.lit(10_000))
    dirt = F.col("chance")
    occupancy, total = F.col("occupancy").cast("string"), F.col("total").cast("string")
    wave = 60 + 30 * F.sin(step / PER_DAY * 6.283) + F.pmod(F.xxhash64(F.lit(1), "id"), F.lit(100)) / 10
    found = rows.select(
        F.format_string("D%04d", n.cast("int")).alias("name"), clock.alias("ts"), chance.alias("chance"),
        wave.alias("speed"), (F.pmod(F.xxhash64(F.lit(2), "id"), F.lit(120))).alias("flow"),
        (F.pmod(F.xxhash64(F.lit(3), "id"), F.lit(400)) / 1000).alias("occupancy"),
        (step * 100 + F.pmod(F.xxhash64(F.lit(4), "id"), F.lit(100))).alias("total"),
    )  # fmt: skip
    found = found.select(
        F.when(dirt == 0, "X1").when(dirt == 1, "D9999").otherwise(F.col("name")).alias("detector"),
        F.date_format("ts", "yyyy-MM-dd HH:mm:ss").alias("ts"),
        F.when(dirt == 2, "broken").otherwise("ok").alias("status"),
        F.when(dirt.between(3, 5), "999").when(dirt == 6, "fast").otherwise(F.format_number("speed", 1)).alias("speed"),
        F.when(dirt == 7, "-3").otherwise(F.col("flow").cast("string")).alias("flow"),
        F.when(dirt.between(8, 12), "1.4").when(dirt.between(13, 17), "0.99").otherwise(occupancy).alias("occupancy"),
        F.when(dirt.between(18, 22), "1").otherwise(total).alias("total"),
        F.to_date("ts").alias("drop"),
    )  # fmt: skip
    doubled = found.unionAll(found.where(F.pmod(F.xxhash64(F.lit(5), "ts", "detector"), F.lit(1000)) == 0))
    written = raw / "by_day"
    doubled.repartition(len(days), "drop").write.partitionBy("drop").csv(str(written), header=True)
    (raw / "readings").mkdir()
    for day in days:
        (written / f"drop={day}").rename(raw / "readings" / f"{day}.csv")
    shutil.rmtree(written)
    lines = [f"D{number:04d},A{number % 7}" for number in range(detectors)]
    (raw / "detectors.csv").write_text("\n".join(["detector,road", *lines]) + "\n")


def by_hand(spark: SparkSession, lake: Path, out: Path) -> None:
    """What an engineer would write in an afternoon: one query from bronze to a Delta table."""
    bronze = spark.read.format("delta").load(str(lake / "bronze/bench/readings"))
    known = spark.read.format("delta").load(str(lake / "silver/bench/detectors")).select("detector")
    local = F.try_to_timestamp("ts", F.lit("yyyy-MM-dd HH:mm:ss"))
    rows = bronze.select(
        "detector",
        F.to_utc_timestamp(local, "Europe/Berlin").alias("ts"),
        F.to_date(local).alias("day"),
        "status",
        *[_number(name).alias(name) for name in ("speed", "flow", "occupancy")],
        F.expr("try_cast(total AS BIGINT)").alias("total"),
        "_drop_day",
        "_file",
        *[
            (F.col(n).isNotNull() & (F.col(n) != "NA") & _number(n).isNull()).alias(f"bad_{n}")
            for n in ("speed", "flow")
        ],
    )
    good = rows.where(
        F.col("ts").isNotNull()
        & ~F.col("bad_speed") & ~F.col("bad_flow")
        & F.coalesce(F.col("speed").between(0, 200), F.lit(True))
        & F.coalesce(F.col("flow").between(0, 500), F.lit(True))
        & F.col("detector").rlike("^D[0-9]{4}$")
        & F.coalesce(F.col("status").isin("ok", "maintenance"), F.lit(True))
        & F.coalesce((F.col("flow") == 0) | (F.col("speed") > 0), F.lit(True))
    ).drop("bad_speed", "bad_flow")  # fmt: skip
    good = good.withColumn("occupancy", F.greatest(F.lit(0.0), F.least(F.lit(1.0), "occupancy")))
    good = good.join(F.broadcast(known), "detector")
    newest = Window.partitionBy("detector", "day", "ts").orderBy(F.desc("_drop_day"), F.desc("_file"))
    single = good.withColumn("nth", F.row_number().over(newest)).where("nth = 1").drop("nth")
    _by_hand_along_time(single).write.format("delta").mode("overwrite").save(str(out))


def _by_hand_along_time(rows: DataFrame) -> DataFrame:
    order = Window.partitionBy("detector", "day").orderBy("ts")
    before, after = F.lag("occupancy").over(order), F.lead("occupancy").over(order)
    spike = (F.abs(F.col("occupancy") - before) > 0.6) & (F.abs(F.col("occupancy") - after) > 0.6)
    last, following = F.lag("total").over(order), F.lead("total").over(order)
    falls = ((F.col("total") < last) & (following >= last)) | ((F.col("total") > following) & (last <= following))
    hole = F.col("ts").cast("long") - F.lag("ts").over(order).cast("long") >= 7200
    new = ((F.lag("speed").over(order) != F.col("speed")) | hole).cast("int")
    rows = rows.withColumn("new", F.coalesce(new, F.lit(1)))
    rows = rows.withColumn("run", F.sum("new").over(order))
    run = Window.partitionBy("detector", "day", "run")
    lasts = F.max("ts").over(run).cast("long") - F.min("ts").over(run).cast("long")
    return rows.withColumns(
        {
            "speed": F.when(lasts < 7200, F.col("speed")),
            "occupancy": F.when(~F.coalesce(spike, F.lit(False)), F.col("occupancy")),
            "total": F.when(~F.coalesce(falls, F.lit(False)), F.col("total")),
        }
    ).drop("new", "run", "_drop_day", "_file")


def _number(name: str) -> F.Column:  # type: ignore[name-defined]
    return F.expr(f"try_cast({name} AS DOUBLE)")


def in_duckdb(lake: Path, out: Path, day: tuple[date, date]) -> None:
    """The same query in SQL on the same Parquet files, into one Parquet file."""
    from deltalake import DeltaTable

    def files(name: str) -> str:
        return "[" + ", ".join(f"'{uri}'" for uri in DeltaTable(str(lake / name)).file_uris()) + "]"

    query = f"""
    WITH cast_ AS (
      SELECT detector, timezone('Europe/Berlin', try_strptime(ts, '%Y-%m-%d %H:%M:%S')) AS ts,
        try_strptime(ts, '%Y-%m-%d %H:%M:%S')::DATE AS day, status, try_cast(speed AS DOUBLE) AS speed,
        try_cast(flow AS DOUBLE) AS flow, least(1, greatest(0, try_cast(occupancy AS DOUBLE))) AS occupancy,
        try_cast(total AS BIGINT) AS total, _drop_day, _file, speed AS speed_, flow AS flow_
      FROM read_parquet({files("bronze/bench/readings")})
      WHERE _record_day BETWEEN DATE '{day[0]}' AND DATE '{day[1]}'),
    good AS (
      SELECT * FROM cast_ SEMI JOIN read_parquet({files("silver/bench/detectors")}) AS known USING (detector)
      WHERE ts IS NOT NULL AND NOT (speed_ IS NOT NULL AND speed_ <> 'NA' AND speed IS NULL)
        AND NOT (flow_ IS NOT NULL AND flow_ <> 'NA' AND flow IS NULL) AND coalesce(speed BETWEEN 0 AND 200, true)
        AND coalesce(flow BETWEEN 0 AND 500, true) AND regexp_full_match(detector, 'D[0-9]{{4}}')
        AND coalesce(status IN ('ok', 'maintenance'), true) AND coalesce(flow = 0 OR speed > 0, true)),
    single AS (
      SELECT * FROM good
      QUALIFY row_number() OVER (PARTITION BY detector, day, ts ORDER BY _drop_day DESC, _file DESC) = 1),
    runs AS (
      SELECT *, sum(new_) OVER (PARTITION BY detector, day ORDER BY ts) AS run FROM (
        SELECT *,
          coalesce((lag(speed) OVER w <> speed OR epoch(ts) - epoch(lag(ts) OVER w) >= 7200)::INT, 1) AS new_,
          lag(occupancy) OVER w AS ob, lead(occupancy) OVER w AS oa, lag(total) OVER w AS tb, lead(total) OVER w AS ta
        FROM single WINDOW w AS (PARTITION BY detector, day ORDER BY ts)))
    SELECT detector, ts, day, status, flow,
      CASE WHEN epoch(max(ts) OVER r) - epoch(min(ts) OVER r) < 7200 THEN speed END AS speed,
      CASE WHEN NOT coalesce(abs(occupancy - ob) > 0.6 AND abs(occupancy - oa) > 0.6, false) THEN occupancy END
        AS occupancy,
      CASE WHEN NOT (coalesce(total < tb AND ta >= tb, false)
        OR coalesce(total > ta AND tb <= ta, false)) THEN total END AS total
    FROM runs WINDOW r AS (PARTITION BY detector, day, run)"""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {psutil.cpu_count() or 1}")
    connection.execute(f"SET temp_directory = '{out.parent}/duckdb'")
    connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet)")
    connection.close()


@dataclass
class Bench:
    """One size: its lake, and the seconds of each runner."""

    spark: SparkSession
    folder: Path
    days: list[date]
    detectors: int

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    def prepare(self) -> None:
        """Writes and lands the drops, and cleans the master."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, text in (("env/local.yaml", "lake: lake\n"), ("data/bench/readings.yaml", DATA_SET)):
            path = self.folder / "conf" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.folder / "conf/data/bench/detectors.yaml").write_text(MASTER)
        (self.folder / "raw").mkdir()
        made(self.spark, self.folder / "raw", self.detectors, self.days)
        for stage, target in (("land", "data/bench/readings"), ("land", "data/bench/detectors")):
            self.stage(stage, target)
        self.stage("clean", "data/bench/detectors")

    def stage(self, stage: str, target: str) -> object:
        """Runs one stage of the product."""
        configuration = Configuration.load(self.folder / "conf", raw=str(self.folder / "raw"), lake=str(self.lake))
        days = self.days if stage == "land" else []
        outcome = getattr(commands, stage)(Work(configuration, stage, days), [target])
        for error in outcome.failures.values():
            raise error
        return outcome.results[target]

    def ours(self) -> None:
        """The stage clean, from nothing: no silver, no quarantine."""
        for layer in ("silver", "quarantine"):
            shutil.rmtree(self.lake / layer / "bench/readings", ignore_errors=True)
        total = self.stage("clean", "data/bench/readings").total()  # type: ignore[attr-defined]
        assert total.parsed == total.accepted + sum(total.refused.values()) + total.duplicates
        self.total = total

    def timed(self) -> dict[str, list[float]]:
        """Seconds of each runner, alternating."""
        out = self.folder / "peer"
        runners: dict[str, Callable[[], None]] = {
            "nightmill clean": self.ours,
            "PySpark by hand": lambda: by_hand(self.spark, self.lake, out),
            "DuckDB": lambda: in_duckdb(self.lake, self.folder / "peer.parquet", (self.days[0], self.days[-1])),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(REPEATS):
            for name, run in runners.items():
                shutil.rmtree(out, ignore_errors=True)
                begun = time.monotonic()
                run()
                seconds[name].append(time.monotonic() - begun)
                print(f"{len(self.days)} days, {name}: {seconds[name][-1]:.1f} s", flush=True)
        return seconds

    def held(self) -> tuple[float, float]:
        """MiB that the driver still holds: its Python process, and the JVM's heap after a collection."""
        gc.collect()
        jvm = self.spark.sparkContext._jvm
        assert jvm is not None
        jvm.java.lang.System.gc()
        heap = jvm.java.lang.management.ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed()
        return psutil.Process().memory_info().rss / 2**20, heap / 2**20


REPEATS = 3


def main() -> int:
    """Writes the table; returns 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-clean"))
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--detectors", type=int, default=1000)
    parser.add_argument("--days", type=int, default=70)
    asked = parser.parse_args()
    from nightmill.spark import session

    few = max(1, asked.days // 10)
    days = [FIRST + timedelta(days=n) for n in range(asked.days)]
    spark = session(Configuration.load().environment)
    sizes = [Bench(spark, asked.folder / "few", days[:few], asked.detectors)]
    sizes.append(Bench(spark, asked.folder / "all", days, asked.detectors))
    found, held = [], []
    for size in sizes:
        size.prepare()
        found.append({name: statistics.median(seconds) for name, seconds in size.timed().items()})
        held.append(size.held())
    return report(asked, sizes, found, held)


def report(asked: argparse.Namespace, sizes: list[Bench], found: list[dict[str, float]], held: list) -> int:  # type: ignore[type-arg]
    """The table, and whether the bounds hold."""
    small, large = sizes
    text = HEAD.format(
        stamp=provenance.stamp(), rows=large.total.parsed, few=small.total.parsed, detectors=asked.detectors,
        days=asked.days, repeats=REPEATS,
    )  # fmt: skip
    hand = found[1]["PySpark by hand"]
    for name in found[0]:
        a, b = found[0][name], found[1][name]
        text += f"| {name} | {a:.1f} | {b:.1f} | {b / a:.1f} | {b / hand:.2f} |\n"
    total = large.total
    text += f"\nAccepted {total.accepted:,}, refused {dict(total.refused)}, duplicates {total.duplicates:,}, "
    text += f"changed {dict(total.changed)}.\n"
    for label, memory in zip(("fewer", "all"), held):
        text += (
            f"Driver after {label} records: Python {memory[0]:.0f} MiB, heap after collection {memory[1]:.0f} MiB.\n"
        )
    ratio, growth = found[1]["nightmill clean"] / hand, found[1]["nightmill clean"] / found[0]["nightmill clean"]
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "bench-clean.md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if ratio <= 1.25 and growth <= 10.5 else 1


if __name__ == "__main__":
    raise SystemExit(main())
