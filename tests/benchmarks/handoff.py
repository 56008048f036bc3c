"""The hand-off against what it could be: raw scans, plain copies, Ray Data, a torch DataLoader: `make bench-handoff`.

Peers are measured in the same run, alternating; ratios are of medians. Each bound is one that the design promises.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.transaction import AddAction

sys.path.insert(0, str(Path(__file__).parent))
from memory import own, peak
from page import Report, apart, ran_inner

from nightmill import provenance
from nightmill.handoff import (
    Batches,
    Cache,
    Index,
    Pinned,
    Plan,
    Window,
    build_index,
    column_batches,
    pin,
    row_batches,
    select_samples,
)
from nightmill.handoff.layout import lay_out

EVERY = timedelta(minutes=5)
STEPS, COLUMNS, BATCH = 288, 17, 8192
FEATURES = [f"f{number:02}" for number in range(COLUMNS)]
GROUP = 65_536  # as spark.py sets it
REPEATS = 5
BEGIN = 1_700_006_400_000_000  # µs UTC, a midnight

HEAD = """# The hand-off

{stamp}
Tables of {sensors:,} sensors with a row every five minutes, {columns} float32 columns and one file a day, Snappy, row
groups of {group:,} rows as the jobs write them. Times of scans, rows, columns and windows are medians of {repeats}
runs, alternating with their peers; Ray Data and the DataLoader run once after a first pass, over a quarter of the files
and 500,000 rows.
"""


def build(uri: Path, days: int, sensors: int, group: int = GROUP) -> str:
    """A table of daily files, each sorted by (entity, ts); kept for the next run."""
    uri = uri.with_name(f"{uri.name}-{sensors}-{group}")
    if (uri / "_delta_log").exists() and DeltaTable(str(uri)).version() == days - 1:
        return str(uri)
    shutil.rmtree(uri, ignore_errors=True)
    draws, count = np.random.default_rng(0), sensors * STEPS
    names = pa.array([f"det-{number:05}" for number in range(sensors)])
    codes = pa.array(np.repeat(np.arange(sensors), STEPS).astype(np.int32))
    entity = pa.DictionaryArray.from_arrays(codes, names).cast(pa.string())
    properties = WriterProperties(max_row_group_size=group, compression="SNAPPY")
    for day in range(days):
        ts = np.tile(np.arange(STEPS), sensors) * 300_000_000 + day * 86_400_000_000 + BEGIN
        columns = {"entity": entity, "ts": pa.array(ts, pa.timestamp("us", "UTC"))}
        columns |= {name: pa.array(draws.standard_normal(count, dtype=np.float32)) for name in FEATURES}
        columns["target"] = columns[FEATURES[0]]
        write_deltalake(
            str(uri), pa.table(columns), mode="append", target_file_size=2**32, writer_properties=properties
        )
    return str(uri)


def seconds(work: Callable[[], Any]) -> float:
    """Of one run."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def medians(**runners: Callable[[], Any]) -> dict[str, float]:
    """Seconds of each runner, alternating, after one run that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(REPEATS + 1):
        for name, run in runners.items():
            took = seconds(run)
            if number:
                found[name].append(took)
    return {name: statistics.median(runs) for name, runs in found.items()}


def drain(batches: Iterator[Any]) -> int:
    """Takes all; returns how many there were."""
    return sum(1 for _ in batches)


def rows(report: Report, uri: str, days: int) -> None:
    """Rows into batches, against a raw scan and what others do with rows."""
    gold = pin(uri)
    paths, many = [f"{uri}/{file.path}" for file in gold.files], gold.rows

    def scan() -> None:
        for path in paths:
            pq.read_table(path, columns=FEATURES)

    found = medians(
        scan=scan,
        rows=lambda: drain(row_batches(pin(uri), FEATURES, BATCH)),
        columns=lambda: drain(column_batches(pin(uri), FEATURES, BATCH)),
    )
    report.head(
        f"{many:,} rows of {days} files into batches of {BATCH:,}", "", "s", "M rows/s", "against the scan", "bound"
    )
    for name, title, bound in (
        ("scan", "raw scan: pyarrow reads the same columns of the same files on all cores", None),
        ("rows", "row-major batches", 2.0),
        ("columns", "column-major batches", 1.5),
    ):
        ratio = found[name] / found["scan"]
        report.row(
            title, f"{found[name]:.2f}", f"{many / found[name] / 1e6:.1f}", f"{ratio:.2f}", bound or "",
            holds=bound is None or ratio <= bound,
        )  # fmt: skip
    ours = many / found["rows"]
    some = paths[: max(1, days // 4)]
    for title, speed, bound in (
        ("Ray Data: read_parquet, iter_torch_batches", _ray(some), 5),
        ("torch DataLoader over rows in memory, two workers", _loader(uri, gold), 10),
    ):
        report.row(
            title, "", f"{speed / 1e6:.2f}", f"we are {ours / speed:.0f} x", f"{bound} x", holds=ours >= bound * speed
        )


def _ray(paths: list[str]) -> float:
    """Rows a second of a warm cluster, from the plan to the last batch."""
    import ray

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        many, begun = 0, 0.0
        for number in (1, len(paths)):  # the first pass starts its workers
            many, begun = 0, time.perf_counter()
            table = ray.data.read_parquet(paths[:number]).select_columns(FEATURES)
            for batch in table.iter_torch_batches(batch_size=BATCH):
                many += len(batch[FEATURES[0]])
        return many / (time.perf_counter() - begun)
    finally:
        ray.shutdown()


class _Rows(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.values[row]


def _loader(uri: str, gold: Pinned) -> float:
    """Rows a second, over rows that are in memory already."""
    table = pq.read_table(f"{uri}/{gold.files[0].path}", columns=FEATURES)
    values = torch.from_numpy(np.stack([column.to_numpy() for column in table.columns], axis=1)[:500_000])
    loader = torch.utils.data.DataLoader(_Rows(values), BATCH, num_workers=2, persistent_workers=True)
    drain(iter(loader))  # starts the workers
    return len(values) / seconds(lambda: drain(iter(loader)))


def windows(report: Report, uri: str) -> None:
    """Windows into batches, shuffled, against plain copies of the same bytes."""
    lookback, batch, gold = 168, 256, pin(uri)
    index = build_index(gold, EVERY)
    plan = Plan(select_samples(index, Window(lookback, 1)), batch, 0)
    batches = Batches(gold, index, plan, features=FEATURES)
    many = min(batches.steps, 1500)
    rows, into = batches._rows.arrays["x"], np.empty((batch, lookback, COLUMNS), np.float32)
    origins = np.random.default_rng(0).integers(lookback, len(rows) - batch * lookback, (many, batch)).tolist()

    def ours() -> None:
        taken = batches.epoch(0)
        for _ in range(many):
            next(taken)
        taken.close()

    def one_by_one() -> None:
        for step in origins:
            for number, origin in enumerate(step):
                into[number] = rows[origin - lookback : origin]

    def in_one_piece() -> None:
        for step in origins:
            into.reshape(-1, COLUMNS)[:] = rows[step[0] : step[0] + batch * lookback]

    found = medians(ours=ours, one_by_one=one_by_one, in_one_piece=in_one_piece)
    report.head(f"Windows of {lookback} x {COLUMNS}, batches of {batch}, shuffled", "", "windows/s", "we are", "bound")
    speed = {name: many * batch / took for name, took in found.items()}
    report.row("batches", f"{speed['ours']:,.0f}", "", "")
    ratio = speed["ours"] / speed["one_by_one"]
    title = "plain copy of the same bytes: windows from random places, each with one memcpy, on one core"
    report.row(title, f"{speed['one_by_one']:,.0f}", f"{ratio:.2f} x", ".9 x", holds=ratio >= 0.9)
    ratio = speed["ours"] / speed["in_one_piece"]
    report.row(
        "as many bytes that lie in one piece, on one core",
        f"{speed['in_one_piece']:,.0f}",
        f"{ratio:.2f} x",
        "reported",
    )


def inner_memory(uri: str, budget: int, folder: str) -> dict[str, float]:
    """In a process of its own: preparing and two shuffled epochs; with a budget of 0 all rows in memory."""
    before = own()[0]
    with peak(own, every=0.02) as most:
        gold = pin(uri)
        index = build_index(gold, EVERY)
        plan = Plan(select_samples(index, Window(1, 0)).as_they_lie(index), BATCH, 0)
        begun = time.perf_counter()
        options: dict[str, Any] = {"memory": budget, "cache": Cache(folder, 2**36)} if budget else {}
        batches = Batches(gold, index, plan, features=FEATURES, **options)
        ready = time.perf_counter() - begun
        epochs = [seconds(lambda number=number: drain(batches.epoch(number))) for number in range(3)]
    bytes_ = sum(array.nbytes for array in batches._rows.arrays.values())
    return {"ready": ready, "epoch": min(epochs), "pss": most[0] - before, "before": before, "bytes": bytes_}


def memory(report: Report, uri: str, folder: Path) -> None:
    """A table of four times the budget."""
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    whole = apart(__file__, "inner_memory", uri, 0, str(cache))
    budget = int(whole["bytes"] / 4)
    found = {"all in memory": whole, "budget, first time": apart(__file__, "inner_memory", uri, budget, str(cache))}
    found["budget, cache filled"] = apart(__file__, "inner_memory", uri, budget, str(cache))
    shutil.rmtree(cache, ignore_errors=True)
    sizes = f"{whole['bytes'] / 2**20:,.0f} MiB of rows, a budget of {budget / 2**20:,.0f} MiB"
    report.head(
        f"{sizes}, shuffled batches of {BATCH:,}",
        "", "ready after, s", "an epoch, s", "times that in memory", "peak PSS, MiB", "of the budget",
    )  # fmt: skip
    for name, one in found.items():
        ratio, share = one["epoch"] / whole["epoch"], one["pss"] / budget
        holds = one is whole or (ratio <= 2 and share <= 1.2)
        report.row(
            name, f"{one['ready']:.1f}", f"{one['epoch']:.2f}", f"{ratio:.2f}", f"{one['pss'] / 2**20:,.0f}",
            f"{share:.2f}", holds=holds,
        )  # fmt: skip
    report.say(
        "Bounds: an epoch of twice the time, a peak of 1.2 budgets. The peak is what the process took (proportional "
        f"set size) beyond the {whole['before'] / 2**20:,.0f} MiB that it had once all libraries were loaded."
    )


def worlds(report: Report, uri: str, folder: Path, days: int, sensors: int) -> None:
    """What each of several ranks reads of the table's bytes, against its share of the samples."""
    report.head(
        "Ranks: the most that one reads, against its share", "", *(f"{world} ranks" for world in (1, 2, 4, 7)), "bound"
    )
    wide, fine = build(folder / "wide", 2, sensors * 8), build(folder / "fine", days, sensors, GROUP // 8)
    windows_, rows_ = Window(12, 12), Window(1, 0)
    for title, table, window, bound in (
        ("rows", uri, rows_, 1.1),
        (f"windows of 12 + 12, {sensors * 8:,} sensors", wide, windows_, 1.1),
        (f"windows of 12 + 12, {sensors:,} sensors, row groups of {GROUP // 8:,}", fine, windows_, 1.1),
        (f"windows of 12 + 12, {sensors:,} sensors", uri, windows_, None),
    ):
        gold = pin(table)
        _shares(report, title, gold, build_index(gold, EVERY), window, bound)
    for table in (wide, fine):
        shutil.rmtree(table)
    report.say(
        "A rank reads whole row groups: of each daily file at most one that its neighbour reads too. The more row "
        "groups a day has, the less that is; a day of few rows has few, and is soon read."
    )


def _shares(report: Report, title: str, gold: Pinned, index: Index, window: Window, bound: float | None) -> None:
    samples, sizes = select_samples(index, window), _group_sizes(gold)
    if window.lookback == 1:
        samples = samples.as_they_lie(index)
    total, most = sum(sizes.values()), []
    for world in (1, 2, 4, 7):
        plan, ratios = Plan(samples, BATCH, 0, world), []
        for rank in range(world):
            first, stop = plan.range_of(rank)
            copies = lay_out(index, samples, (first, stop), window.horizon).copies
            read = sum(sizes[key] for key in set(zip(copies.file.tolist(), copies.group.tolist())))
            ratios.append(read / total / ((stop - first) / samples.count))
        most.append(max(ratios))
    cells = [f"{ratio:.3f}" for ratio in most]
    report.row(title, *cells, bound or "reported", holds=bound is None or max(most) <= bound)


def _group_sizes(gold: Pinned) -> dict[tuple[int, int], int]:
    """(file, row group) -> bytes of the features' column chunks."""
    found = {}
    for number, file in enumerate(gold.files):
        footer = pq.ParquetFile(f"{gold.uri}/{file.path}").metadata
        for group in range(footer.num_row_groups):
            columns = [footer.row_group(group).column(i) for i in range(footer.row_group(group).num_columns)]
            sizes = [column.total_compressed_size for column in columns if column.path_in_schema in FEATURES]
            found[number, group] = sum(sizes)
    return found


def files(report: Report, tables: int, folder: Path) -> None:
    """Random files against a plain reference: every window once, with the values that it should have, on any ranks."""
    from conftest import EVERY as STEP_TIME
    from conftest import STEP, write_gold

    draws = random.Random(2)
    for number in range(tables):
        rows, wanted, window = [], {}, Window(draws.randint(1, 5), draws.randint(0, 3))
        for entity in range(draws.randint(1, 5)):
            steps = [step for step in range(draws.randint(1, 60)) if draws.random() < 0.97]
            rows += [(f"e{entity}", step, entity * 1000.0 + step, draws.random()) for step in steps]
            for step in steps:
                seen = range(step - window.lookback + 1, step + window.horizon + 1)
                if set(seen) <= set(steps):
                    wanted[entity, step * STEP] = [entity * 1000.0 + s for s in seen[: window.lookback]]
        if not wanted:
            continue
        cuts = sorted(draws.sample(range(60), draws.randint(0, 3)))
        parts = [[row for row in rows if low <= row[1] < high] for low, high in pairwise([0, *cuts, 60])]
        uri = write_gold(folder / str(number), *(part for part in parts if part), rows_per_group=draws.randint(1, 40))
        gold = pin(uri)
        index, batch = build_index(gold, STEP_TIME), draws.randint(1, 50)
        samples, alone = select_samples(index, window), None
        for world in (1, 2, 4, 7):
            plan = Plan(samples, batch, number, world)
            ranks = [Batches(gold, index, plan, rank, features=["x"]).epoch(1) for rank in range(world)]
            found = [
                (int(index.entities[e][1:]), t, x)
                for step in zip(*ranks, strict=True)
                for one in step
                for e, t, x, w in zip(
                    one.entity.tolist(), one.ts.tolist(), one.x[:, :, 0].tolist(), one.weight.tolist()
                )
                if w
            ]
            alone = alone or found
            assert found == alone, "another order on more ranks"
            assert len(found) == len(wanted) and {(e, t): x for e, t, x in found} == wanted
        shutil.rmtree(folder / str(number))
    report.say(
        f"Of {tables:,} random tables in files, with gaps, unequal entities and small row groups, every window came "
        "once, with the values of a plain reference, in one order on 1, 2, 4 and 7 ranks."
    )


def order(report: Report, tables: int) -> None:
    """Random plans: every sample once, the same order for every number of ranks, resumed in mid-epoch."""
    from conftest import make_index

    draws = random.Random(1)
    for _ in range(tables):
        runs = [(f"e{number:03}", 0, draws.randint(1, 200)) for number in range(draws.randint(1, 12))]
        samples = select_samples(make_index(*runs), Window(draws.randint(1, 5), draws.randint(0, 3)))
        batch, seed, epoch = draws.randint(1, 300), draws.randint(0, 99), draws.randint(0, 9)
        mixed = draws.choice([1, 200, 2**19])
        expected = _global(Plan(samples, batch, seed, 1, mixed=mixed), epoch, 0)
        assert sorted(sample for step in expected for sample in step) == list(range(samples.count))
        begin = draws.randint(0, len(expected))
        for world in (2, 4, 7):
            plan = Plan(samples, batch, seed, world, mixed=mixed)
            assert _global(plan, epoch, 0) == expected
            assert _global(plan, epoch, begin) == expected[begin:]
    report.say(
        f"Of {tables:,} random plans every sample came once, in the same order on 1, 2, 4 and 7 ranks, and each rest "
        "of an epoch that was taken up with another number of ranks was the rest."
    )


def _global(plan: Plan, epoch: int, start: int) -> list[list[int]]:
    """The samples of each step over all ranks."""
    ranks = [list(plan.rank(rank, epoch, start)) for rank in range(plan.world)]
    return [[s for step in steps for s in step.samples.tolist() if s >= 0] for steps in zip(*ranks, strict=True)]


def disturbed(report: Report, folder: Path) -> None:
    """Writes and a vacuum in mid-epoch."""
    expected = None
    for disturb in (False, True):
        uri = Path(build(folder / "disturbed", 4, 100))
        gold = pin(str(uri))
        index = build_index(gold, EVERY)
        batches = Batches(gold, index, Plan(select_samples(index, Window(12, 12)), 512, 0), features=FEATURES)
        digest = hashlib.sha256()
        for epoch in range(2):
            for step, batch in enumerate(batches.epoch(epoch)):
                digest.update(batch.x.numpy().tobytes() + batch.y.numpy().tobytes())
                if disturb and (epoch, step) == (0, batches.steps // 2):
                    table = DeltaTable(str(uri)).to_pyarrow_table()
                    write_deltalake(str(uri), table.slice(0, 99), mode="append")
                    write_deltalake(str(uri), table.slice(0, 99), mode="overwrite")
                    DeltaTable(str(uri)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
                    assert not any((uri / file.path).exists() for file in gold.files)
        assert expected in (None, digest.hexdigest())
        expected = digest.hexdigest()
        shutil.rmtree(uri)
    report.say("An append, an overwrite and a VACUUM in mid-epoch changed no bit of two epochs of windows.")


def scale(report: Report, uri: str, folder: Path) -> None:
    """Time per row of more and more rows, the last by repeating files; and the plan of very many files."""
    gold = pin(uri)
    report.head("Time per row", "rows", "s", "ns a row", "against the fewest", "bound")
    first = 0.0
    for times in (0.1, 1, 10):
        files = gold.files[: max(1, int(len(gold.files) * times))] if times < 1 else gold.files * int(times)
        many = Pinned(gold.uri, gold.version, files, gold.storage_options)
        per_row = statistics.median(seconds(lambda: drain(row_batches(many, FEATURES, BATCH))) for _ in range(3))  # noqa: B023
        per_row /= many.rows
        first = first or per_row
        ratio = per_row / first
        cells = (f"{per_row * many.rows:.2f}", f"{per_row * 1e9:.0f}", f"{ratio:.2f}", "1.2")
        report.row(f"{many.rows:,}", *cells, holds=ratio <= 1.2)
    tiny, count = folder / "many", 10_000
    shutil.rmtree(tiny, ignore_errors=True)
    _tiny(tiny, count)
    times_ = {}
    begun = time.perf_counter()
    many = pin(str(tiny))
    times_["pin (log and footers)"] = time.perf_counter() - begun
    begun = time.perf_counter()
    index = build_index(many, timedelta(hours=1))
    times_["index (entity and ts of every row)"] = time.perf_counter() - begun
    begun = time.perf_counter()
    plan = Plan(select_samples(index, Window(24, 12)), 256, 0, 4)
    next(iter(plan.rank(1, 0)))
    lay_out(index, plan.samples, plan.range_of(1), 12)
    times_["plan (order, first step, layout of a rank)"] = time.perf_counter() - begun
    shutil.rmtree(tiny)
    report.head(f"A table of {count:,} files", "", "s", "bound")
    for name, took in times_.items():
        bound = 1 if name.startswith("plan") else None
        report.row(name, f"{took:.2f}", bound or "reported", holds=bound is None or took <= bound)


def _tiny(uri: Path, count: int) -> None:
    hours = np.arange(24) * 3_600_000_000
    values = pa.array(np.arange(24, dtype=np.float32))
    table = pa.table({"entity": pa.array(["a"] * 24), "ts": pa.array(hours, pa.timestamp("us", "UTC"))})
    table = table.append_column("x", values).append_column("target", values)
    write_deltalake(str(uri), table.slice(0, 0))
    added = []
    for number in range(count):
        ts = pa.array(hours + number * 24 * 3_600_000_000, pa.timestamp("us", "UTC"))
        pq.write_table(table.set_column(1, "ts", ts), uri / f"{number}.parquet")
        size = (uri / f"{number}.parquet").stat().st_size
        added.append(AddAction(f"{number}.parquet", size, {}, 0, True, json.dumps({"numRecords": 24})))
    delta = DeltaTable(str(uri))
    delta.create_write_transaction(added, mode="append", schema=delta.schema(), partition_by=[])


def main() -> int:
    """Writes the table; returns 1 where a bound is missed."""
    if ran_inner(globals()):
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-handoff"))
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--sensors", type=int, default=3472)
    parser.add_argument("--memory-days", type=int, default=40)
    parser.add_argument("--tables", type=int, default=3000)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    report = Report(
        HEAD.format(
            stamp=provenance.stamp(), sensors=asked.sensors, columns=COLUMNS, group=GROUP, repeats=REPEATS
        )
    )  # fmt: skip
    uri = build(folder / "daily", asked.days, asked.sensors)
    rows(report, uri, asked.days)
    windows(report, build(folder / "few", asked.days, max(asked.sensors // 16, 200)))
    worlds(report, uri, folder, asked.days, asked.sensors)
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "handoff"))
    order(report, asked.tables)
    files(report, asked.tables // 3, folder / "files")
    disturbed(report, folder)
    scale(report, uri, folder)
    memory(report, build(folder / "daily", asked.memory_days, asked.sensors), folder)
    shutil.rmtree(folder)
    return report.finish(asked.results, "bench-handoff.md")


if __name__ == "__main__":
    sys.exit(main())
