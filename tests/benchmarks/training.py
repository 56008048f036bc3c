"""Training against what it could be: more workers, no group, no input, no interruption: `make bench-train`."""

from __future__ import annotations

import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import torch
import torch.distributed as dist
from deltalake import write_deltalake

sys.path.insert(0, str(Path(__file__).parent))
from page import Report, apart, inner, options, ran_inner, run_parts

from nightmill import provenance
from nightmill.config import Environment, UseCase
from nightmill.errors import NightmillError
from nightmill.train.job import Trained, TrainJob, prepare
from nightmill.train.loop import Feed, Loop
from nightmill.train.one import set_up
from nightmill.train.ray_group import train_all

EVERY = timedelta(minutes=5)
BEGIN = 1_700_006_400_000_000  # µs UTC, a midnight
FEATURES = ("speed", "minute_of_week", "f2", "f3")
STEPS = 288
TESTS = Path(__file__).parents[1]

HEAD = f"""# Training

Tables of simulated sensors, a row every five minutes, {len(FEATURES)} float32 columns, one file. One worker is one
process on one core where it is compared with two, as a machine would give it. Times are the fastest of several, which
others on the machine have disturbed least.
"""

SMALL = {"family": "stid", "window": 12, "hidden": 32, "blocks": 1, "embedding": 8, "slots": 48}
TENFOLD = {"epochs": 10, "batch": 1024, "learning_rate": 0.004}
ROUNDS = 4
INPUT_ROUNDS = 30


def build(uri: Path, sensors: int, days: int) -> str:
    """Daily waves with noise that lasts, so that there is something to learn."""
    shutil.rmtree(uri, ignore_errors=True)
    draws, rows = np.random.default_rng(0), days * STEPS
    at, tables = np.arange(rows), []
    for number in range(sensors):
        noise = np.convolve(draws.normal(0, 1, rows + 11), np.ones(12) / 12, "valid")
        speed = 50 + number % 20 + 10 * np.sin(at / STEPS * 2 * np.pi) + 5 * noise
        columns = {
            "entity": pa.array([f"det-{number:05}"] * rows),
            "ts": pa.array(at * 300_000_000 + BEGIN, pa.timestamp("us", "UTC")),
            "speed": pa.array(speed.astype(np.float32)),
            "minute_of_week": pa.array((at * 5 % 10080).astype(np.float32)),
            "f2": pa.array(draws.standard_normal(rows, dtype=np.float32)),
            "f3": pa.array(draws.standard_normal(rows, dtype=np.float32)),
            "target": pa.array(speed.astype(np.float32)),
        }
        tables.append(pa.table(columns))
    write_deltalake(str(uri), pa.concat_tables(tables).combine_chunks())
    return str(uri)


def job(uri: str, place: Path, name: str, model: dict[str, Any], **train: Any) -> TrainJob:
    """A forecast of three steps."""
    case = UseCase.model_validate(
        {
            "name": f"bench/{name}",
            "title": "t",
            "task": "forecast",
            "inputs": {"speed": "data/city/traffic"},
            "target": {"column": "speed", "horizon": 3},
            "features": [{"columns": ["speed"]}, {"calendar": ["minute_of_week"]}],
            "model": model,
            "train": train,
            "evaluate": {"split": {"time": {"validation": 0.1, "test": 0.1}}},
        }
    )
    work = place / "jobs" / name
    shutil.rmtree(work, ignore_errors=True)
    return TrainJob(case, uri, None, FEATURES, EVERY, 3, str(work / "checkpoint"), str(work / "result"))


def trained(found: Trained | NightmillError) -> Trained:
    """What must have gone well."""
    if isinstance(found, NightmillError):
        raise SystemExit(f"a training failed: {found}")
    return found


def together(jobs: list[TrainJob], workers: int, cores: int | None = None) -> list[Trained]:
    """Trained by a group, on the first cores of this machine where a number is given."""
    before = os.sched_getaffinity(0)
    if cores is not None:
        os.sched_setaffinity(0, set(sorted(before)[:cores]))
    try:
        return [trained(one) for one in train_all(jobs, workers, Environment())]
    finally:
        os.sched_setaffinity(0, before)


def same_losses(report: Report, folder: Path) -> None:
    """Two workers and one train the same."""
    uri = build(folder / "same", sensors=8, days=5)
    stid = {"family": "stid", "window": 12, "hidden": 64, "blocks": 2, "embedding": 16, "slots": 48}
    steps = {"epochs": 50, "batch": 100_000, "optimiser": "sgd", "learning_rate": 0.05}
    whole = {"epochs": 12, "batch": 256, "learning_rate": 0.004, "schedule": "one_cycle", "clip": 5}
    plans = {
        "50 steps of SGD, each over all windows, dropout 0": ({"dropout": 0}, steps, 1e-5, "largest of 50"),
        "12 epochs of Adam, dropout 0": ({"dropout": 0}, whole, 1e-3, "validation loss at the end"),
        "12 epochs of Adam, dropout 10 %: other draws on each worker": (
            {"dropout": "10 %"}, whole, None, "validation loss at the end",
        ),
    }  # fmt: skip
    jobs = {
        n: [
            job(uri, folder, f"{n}-{k}", stid | model, **train) for k, (model, train, _, _) in enumerate(plans.values())
        ]
        for n in (1, 2)
    }
    found = {n: together(asked, n) for n, asked in jobs.items()}
    report.head("Two workers against one, same batches", "", "relative difference of losses", "", "bound")
    for number, (name, (_, _, bound, what)) in enumerate(plans.items()):
        lines = [found[n][number].history for n in (1, 2)]
        if bound == 1e-5:
            differences = [abs(a["loss"] / b["loss"] - 1) for a, b in zip(*lines, strict=True)]
        else:
            differences = [abs(lines[0][-1]["validation_loss"] / lines[1][-1]["validation_loss"] - 1)]
        worst = max(differences)
        report.row(name, f"{worst:.1e}", what, bound or "reported", holds=bound is None or worst <= bound)


def throughput(report: Report, folder: Path) -> None:
    """A model that computes much per sample."""
    uri = build(folder / "same", sensors=8, days=5)
    lstm = {"family": "lstm", "window": 48, "hidden": 96, "layers": 2}
    options = {"epochs": 12, "batch": 256}
    runs = {"one worker, one core": (1, 1), "one worker, both cores": (1, 2), "two workers": (2, 2)}
    speeds: dict[str, float] = {}
    for number, (name, (workers, cores)) in enumerate(runs.items()):
        (found,) = together([job(uri, folder, f"speed-{number}", lstm, **options)], workers, cores)
        # the fastest: others on the machine slow two workers twice, since each waits for the slower one
        speeds[name] = max(line["samples_per_second"] for line in found.history)
    report.head(
        "A compute-bound model (LSTM of 2 x 96 over 48 rows, batches of 256), fastest of twelve epochs",
        "", "windows/s", "", "bound",
    )  # fmt: skip
    for name, speed in speeds.items():
        ratio = speed / speeds["one worker, one core"]
        bound = 1.6 if name == "two workers" else None
        report.row(name, f"{speed:,.0f}", f"{ratio:.2f} x", bound or "", holds=bound is None or ratio >= bound)


def many(report: Report, folder: Path) -> None:
    """Twenty small models, one after the other in one group."""
    uri = build(folder / "small", sensors=10, days=7)
    report.head(
        "Twenty small models in one group (STID of 32, ten epochs of 16 steps of 1,024 windows)",
        "", "a group's start and end, s", "bare trainings, s", "the models in the group, s", "", "bound",
    )  # fmt: skip
    for workers in (1, 2):
        rounds = [(*_grouped(uri, folder, workers), _bare(uri, folder, workers)) for _ in range(ROUNDS)]
        start, models, bare = (min(column) for column in zip(*rounds))
        name = "two workers" if workers == 2 else "one worker"
        cells = name, f"{start:.1f}", f"{bare:.1f}", f"{models:.1f}", f"{models / bare:.2f} x", "1.2 x"
        report.row(*cells, holds=models <= 1.2 * bare)
    report.say(
        f"The fastest of {ROUNDS} rounds. The models' time is that between the first's result and the last's, for all "
        "twenty; a group's start and end is what comes before and after: starting and stopping Ray, loading "
        "libraries. Bare trainings read their rows and run the loop in as many plain processes of torch.distributed, "
        "without Ray, checkpoints, intervals or files. Models as small as these gain nothing from a second worker: "
        "what the workers say to each other takes longer than what they compute."
    )


def _grouped(uri: str, folder: Path, workers: int) -> tuple[float, float]:
    """(seconds of a group round its models, seconds of its twenty models)."""
    jobs, begun = [job(uri, folder, f"many-{n}", SMALL, **TENFOLD) for n in range(20)], time.time()
    together(jobs, workers)
    took = time.time() - begun
    first, last = ((Path(one.result) / "trained.json").stat().st_mtime for one in (jobs[0], jobs[-1]))
    models = (last - first) * 20 / 19
    return took - models, models


def _bare(uri: str, folder: Path, workers: int) -> float:
    """Seconds of twenty models in plain processes."""
    (folder / "meet").unlink(missing_ok=True)
    commands = [inner(__file__, "inner_bare", uri, str(folder), rank, workers) for rank in range(workers)]
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    return max(json.loads(rank.communicate()[0]) for rank in ranks)


def inner_bare(uri: str, folder: str, rank: int, world: int) -> float:
    """In a process of its own, one of `world`: seconds that twenty models take to read their rows and to train."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // world))
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    total = 0.0
    for number in range(21):
        prepared = prepare(job(uri, Path(folder), f"bare-{rank}-{number}", SMALL, **TENFOLD), world)
        if world > 1:
            dist.barrier()
        begun = time.perf_counter()
        Loop(replace(set_up(prepared, torch.device("cpu"), lambda _: None), checkpoint=None)).run()
        total += (time.perf_counter() - begun) * (number > 0)  # the first one loads libraries
    return total


@dataclass
class Watched:
    """A source whose waits are measured."""

    source: Any
    waited: list[float] = field(default_factory=list)
    """Seconds until each batch was there."""
    seen: Callable[[int], None] = lambda _: None
    """Called with the number of batches so far."""

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]:
        batches = self.source.epoch(epoch, start_step)
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.waited.append(time.perf_counter() - begun)
            self.seen(len(self.waited))
            yield batch


@dataclass
class AtHand:
    """The same batches every epoch, copied once: an input that costs nothing."""

    batches: list[Any]

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]:
        return iter(self.batches[start_step:])


def inner_input(uri: str, folder: str, hidden: int) -> dict[str, float]:
    """In a process of its own with one thread: epochs from the table, and with batches at hand, alternating."""
    torch.set_num_threads(1)
    stid = {"family": "stid", "window": 48, "hidden": hidden, "blocks": 2, "embedding": 16, "slots": 48}
    asked = job(uri, Path(folder), "input", stid, epochs=1, batch=1024)
    setup = replace(set_up(prepare(asked), torch.device("cpu"), lambda _: None), checkpoint=None)
    watched = Watched(setup.training.source)
    copied = [batch.map(torch.clone) for batch in watched.source.epoch(0)]

    judged = Feed(AtHand(copied[:1]), 1, len(copied[0].x))
    found: dict[str, list[float]] = {"table": [], "hand": []}
    for number in range(INPUT_ROUNDS):
        for name, source in (("table", watched), ("hand", AtHand(copied))):
            watched.waited.clear()
            one = replace(setup, training=Feed(source, setup.training.steps, setup.training.samples), validation=judged)
            begun = time.perf_counter()
            Loop(one).run()
            took = (time.perf_counter() - begun) / setup.training.steps
            if number:
                found[name].append(took)
                if name == "table":
                    found.setdefault("waited", []).append(sum(watched.waited) / setup.training.steps)
    return {name: min(times) * 1000 for name, times in found.items()} | {"steps": setup.training.steps}


def input_loss(report: Report, folder: Path) -> None:
    """What reading costs a step of about 10 ms."""
    uri = build(folder / "input", sensors=40, days=6)
    hidden = 128
    found = apart(__file__, "inner_input", uri, str(folder), hidden)
    lost, waited = found["table"] / found["hand"] - 1, found["waited"] / found["table"]
    report.head(
        f"Input beside a step of {found['hand']:.1f} ms (one thread, windows of 48 x {len(FEATURES)}, batches of "
        f"1,024, {found['steps']:.0f} steps an epoch)", "", "ms a step", "", "bound",
    )  # fmt: skip
    report.row("batches at hand, already copied", f"{found['hand']:.2f}", "", "")
    report.row("batches from the table", f"{found['table']:.2f}", f"{lost:+.1%}", "5 %", holds=lost <= 0.05)
    report.row(
        "of it waiting for the next batch", f"{found['waited']:.2f}", f"{waited:.1%}", "5 %", holds=waited <= 0.05
    )


def inner_long(uri: str, folder: str) -> dict[str, Any]:
    """In a process of its own: one long epoch; time and memory at every twentieth of it."""
    torch.set_num_threads(1)
    asked = job(uri, Path(folder), "long", SMALL, epochs=1, batch=64)
    prepared = prepare(asked)
    setup = set_up(prepared, torch.device("cpu"), lambda _: None)
    process, marks = psutil.Process(), list[tuple[int, float, int]]()
    every = setup.training.steps // 20

    def seen(number: int) -> None:
        if number % every == 0:
            marks.append((number, time.perf_counter(), process.memory_full_info().uss))

    watched = Watched(setup.training.source, seen=seen)
    Loop(replace(setup, training=replace(setup.training, source=watched))).run()
    times = [(b[1] - a[1]) / (b[0] - a[0]) * 1000 for a, b in zip(marks, marks[1:])]
    return {"steps": setup.training.steps, "ms": times, "mib": [uss / 2**20 for _, _, uss in marks]}


def flat(report: Report, folder: Path) -> None:
    """20,000 steps in one epoch, with a checkpoint every 200."""
    uri = build(folder / "long", sensors=200, days=28)
    found = apart(__file__, "inner_long", uri, str(folder))
    ms, mib = found["ms"], found["mib"]
    early, late = min(ms[:5]), min(ms[-5:])
    growth = statistics.median(mib[-5:]) - statistics.median(mib[:5])
    report.head(
        f"{found['steps']:,} steps in one epoch, a checkpoint every 200",
        "", "first quarter", "last quarter", "", "bound",
    )  # fmt: skip
    report.row(
        "ms a step", f"{early:.2f}", f"{late:.2f}", f"{late / early - 1:+.1%}", "10 %", holds=late <= 1.1 * early
    )
    first, last = (f"{statistics.median(part):,.0f}" for part in (mib[:5], mib[-5:]))
    report.row("memory of its own (USS), MiB", first, last, f"{growth:+.1f} MiB", "10 MiB", holds=growth <= 10)


def interrupted(report: Report, folder: Path) -> None:
    """The tests that kill drivers and workers and take machines away."""
    result = folder / "interrupted.xml"
    chosen = "killed or loses or fewer"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={result}", "-k", chosen]
    subprocess.run([*command, str(TESTS / "integration/test_train_ray.py")], cwd=TESTS.parent, check=False)
    report.head("Interrupted trainings", "test", "s", "")
    for case in ElementTree.parse(result).iter("testcase"):
        good = not len(case)
        name = case.get("name", "").removeprefix("test_").replace("_", " ")
        report.row(name, f"{float(case.get('time', 0)):.0f}", "passed" if good else "failed", holds=good)
    report.say("After a killed driver or worker all weights have the digits of an uninterrupted training.")


PARTS = {
    "losses": same_losses,
    "throughput": throughput,
    "many": many,
    "input": input_loss,
    "flat": flat,
    "interrupted": interrupted,
}


def main() -> int:
    """Writes the table; returns 1 where a bound is missed."""
    logging.disable(logging.INFO)
    if ran_inner(globals()):
        return 0
    asked = options(__doc__, "bench-train", PARTS).parse_args()
    folder = asked.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)  # what a run that was killed left
    folder.mkdir(parents=True)
    parts = {name: partial(part, folder=folder) for name, part in PARTS.items()}
    missed = run_parts(asked.results / "bench-train.md", HEAD, provenance.stamp(), parts, asked.only)
    shutil.rmtree(folder)
    return missed


if __name__ == "__main__":
    sys.exit(main())
