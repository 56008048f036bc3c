"""Training against neuralforecast, in its own environment: `make bench-peers`.

Same data, architecture, window, batch, steps, optimiser, learning rate and loss, judged on the same cells of the test.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(Path(__file__).parent))
from page import Report

from nightmill import commands, provenance
from nightmill.commands import Work
from nightmill.config import Configuration, UseCase
from nightmill.evaluate.judge import material_of
from nightmill.evaluate.predict import predictions, truths
from nightmill.handoff import pin
from nightmill.train.job import Trained
from nightmill.train.ray_group import train_all
from nightmill.train.run import Wanted, job

HERE = Path(__file__).parent / "peers"
HEAD = """# Training against neuralforecast

{stamp}
neuralforecast {version} in an environment of its own. Both train on the same rows of the published data, from the
target's own past alone, the same architecture for the same number of steps of the same batch, with Adam over the same
one-cycle learning rates on the mean absolute error, in one process on all cores; medians of {seeds} seeds. Errors are
of the same origins and horizons of the test part, which neither has seen. Our seconds are of the whole training
(reading the table, scaling, the loop, validation, the interval, the model's files), those of neuralforecast from the
start to the end of its fitting.
"""


@dataclass(frozen=True)
class Contest:
    """One architecture on one data set."""

    use_case: str
    family: str
    model: dict[str, Any]
    """Our options."""
    theirs: str
    options: dict[str, Any]
    """Their options."""
    batch: int
    epochs: int
    learning_rate: float
    freq: str


PATCHES = {"patch": 16, "stride": 8, "hidden": 64, "heads": 4, "layers": 2, "dropout": 0.2}
THEIR_PATCHES = {"patch_len": 16, "stride": 8, "hidden_size": 64, "n_heads": 4, "encoder_layers": 2,
                 "linear_hidden_size": 128, "dropout": 0.2, "fc_dropout": 0.2}  # fmt: skip
CONTESTS = [
    Contest("traffic", "nlinear", {"window": 48}, "NLinear", {"input_size": 48}, 1024, 5, 1e-3, "5min"),
    Contest("energy", "nlinear", {"window": 336}, "NLinear", {"input_size": 336}, 1024, 20, 1e-3, "h"),
    Contest(
        "traffic", "patchtst", PATCHES | {"window": 48}, "PatchTST", THEIR_PATCHES | {"input_size": 48}, 1024, 1, 1e-3,
        "5min",
    ),
    Contest(
        "energy", "patchtst", PATCHES | {"window": 336}, "PatchTST", THEIR_PATCHES | {"input_size": 336}, 256, 1, 1e-3,
        "h",
    ),
]  # fmt: skip


def gold(work: Work, use_case: UseCase) -> None:
    """Raw files -> gold."""
    for stage in (commands.land, commands.clean, commands.features):
        for error in stage(work, [str(HERE / f"{use_case.name.split('/')[1]}.yaml")]).failures.values():
            raise SystemExit(f"{use_case.name}: {error}")


def ours(work: Work, contest: Contest, seed: int) -> tuple[Trained, float, pd.DataFrame, int]:
    """(model, seconds, its predictions and the truth by entity, origin and step, steps of the training)."""
    use_case = work.use_cases([str(HERE / f"{contest.use_case}.yaml")])[0]
    options = {"epochs": contest.epochs, "batch": contest.batch, "learning_rate": contest.learning_rate}
    options |= {"schedule": "one_cycle", "workers": 0}
    data = use_case.model_dump(mode="json", by_alias=True)
    case = UseCase.model_validate(data | {"model": {"family": contest.family} | contest.model, "train": options})
    series = work.configuration.inputs(case)[next(iter(case.inputs))]
    with work.step("backtest", case.name) as current:
        asked = job(work.lake, current, Wanted(case, series, (str(case.target.column),), seed), work.run_id,
                    work.configuration.environment)  # fmt: skip
        begun = time.perf_counter()
        (found,) = train_all(
            [replace(asked, result=f"{asked.result}-{contest.family}")], 0, work.configuration.environment
        )
        took = time.perf_counter() - begun
        if not isinstance(found, Trained):
            raise SystemExit(f"{case.name}: {found}")
        time_of = series.contract.time
        assert time_of is not None
        material = material_of(work.lake, case, time_of, found.bundle, work.configuration.environment.handoff)
    value, _, _ = predictions(found.bundle, material, material.parts.test)
    truth = truths(material, material.parts.test)
    names, entity, ts = np.asarray(material.index.entities), list[Any](), list[Any]()
    for batch in material.batches(material.reshaped(material.parts.test, 1), [str(case.target.column)]):
        real = batch.weight > 0
        entity.append(names[batch.entity[real].numpy()])
        ts.append(batch.ts[real].numpy())
    steps, count = value.shape[1], len(value)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.concatenate(entity), steps),
            "origin": np.repeat(np.concatenate(ts), steps),
            "step": np.tile(np.arange(1, steps + 1), count),
            "truth": truth.ravel(),
            "ours": value.ravel(),
        }
    )
    return found, took, frame, -(-found.samples // contest.batch) * contest.epochs


def theirs(
    python: Path, folder: Path, frame: pd.DataFrame, contest: Contest, case: UseCase, steps: int, seed: int
) -> tuple[float, pd.DataFrame]:
    """(seconds of fitting, predictions by entity, origin and step)."""
    length = int(frame.groupby("unique_id").size().max())
    split = case.evaluate.split.time
    assert split is not None
    file = folder / "frame.parquet"
    frame.to_parquet(file)
    asked = {
        "model": contest.theirs,
        "options": contest.options | {"learning_rate": contest.learning_rate, "windows_batch_size": contest.batch},
        "frame": str(file),
        "steps": steps,
        "horizon": case.target.steps,
        "validation": round(length * split.validation),
        "test": round(length * split.test),
        "freq": contest.freq,
        "seed": seed,
    }
    ran = subprocess.run(
        [str(python), str(HERE / "theirs.py")], input=json.dumps(asked), text=True, capture_output=True, cwd=folder
    )
    if ran.returncode:
        raise SystemExit(ran.stderr[-3000:])
    found = pd.read_parquet(file.with_suffix(".found"))
    origin = found["cutoff"].astype("datetime64[us]").astype("int64")
    every = pd.Timedelta("1h") if contest.freq == "h" else pd.Timedelta(contest.freq)
    ahead = (found["ds"] - found["cutoff"]) // every
    keys = {"unique_id": found["unique_id"].astype(str), "origin": origin, "step": ahead.astype(int)}
    return json.loads(ran.stdout.splitlines()[-1])["seconds"], pd.DataFrame(keys | {"theirs": found["value"]})


def rows_of(work: Work, use_case: UseCase, contest: Contest) -> pd.DataFrame:
    """The series as neuralforecast wants them: no step missing, the last known value where none is known."""
    pinned = pin(work.lake.table("gold", use_case.name).uri)
    column = str(use_case.target.column)
    tables = [pq.read_table(f"{pinned.uri}/{f.path}", columns=["entity", "ts", column]) for f in pinned.files]
    frame = pd.concat([table.to_pandas() for table in tables])
    frame["ts"] = pd.to_datetime(frame["ts"], utc=True).dt.tz_localize(None)
    wide = frame.pivot_table(index="ts", columns="entity", values=column).asfreq(contest.freq).ffill().bfill()
    long = wide.stack().rename("y").reset_index().rename(columns={"ts": "ds", "entity": "unique_id"})
    return long.sort_values(["unique_id", "ds"])[["unique_id", "ds", "y"]].astype({"y": "float32"})


def main() -> int:
    """Writes the table; returns 1 where a bound is missed."""
    logging.disable(logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", required=True)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of neuralforecast's environment")
    parser.add_argument("--folder", type=Path, default=Path("build/bench-peers"))
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="these pairs of data and family, as in energy-nlinear; not written")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    version = subprocess.run(
        [str(asked.python), "-c", "from importlib.metadata import version; print(version('neuralforecast'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    report = Report(HEAD.format(stamp=provenance.stamp(), version=version, seeds=asked.seeds))
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # loads torch's compiler; theirs is loaded before fitting
    work = Work(Configuration.load(None, "local", (), asked.raw, str(folder / "lake")), "backtest")
    made: set[str] = set()
    report.head(
        "Mean absolute errors and seconds of training",
        "data", "architecture", "steps x batch", "our error", "theirs", "ratio", "bound", "our seconds", "theirs",
        "times as fast", "bound",
    )  # fmt: skip
    for contest in CONTESTS:
        if asked.only and f"{contest.use_case}-{contest.family}" not in asked.only:
            continue
        use_case = work.use_cases([str(HERE / f"{contest.use_case}.yaml")])[0]
        if contest.use_case not in made:
            gold(work, use_case)
            made.add(contest.use_case)
        frame, found = rows_of(work, use_case, contest), []
        for seed in range(asked.seeds):
            _, took, mine, steps = ours(work, contest, seed)
            fit, other = theirs(asked.python.absolute(), folder, frame, contest, use_case, steps, seed)
            both = mine.merge(other, on=["unique_id", "origin", "step"]).dropna()
            assert len(both) > 0.9 * len(mine), f"{len(both)} of {len(mine)} cells are in both"
            errors = [float((both[name] - both["truth"]).abs().mean()) for name in ("ours", "theirs")]
            found.append((*errors, took, fit))
        mine_, other_, took, fit = (statistics.median(column) for column in zip(*found))
        report.row(
            contest.use_case, contest.theirs, f"{steps:,} x {contest.batch:,}", f"{mine_:.4g}", f"{other_:.4g}",
            f"{mine_ / other_:.3f}", "1", f"{took:.1f}", f"{fit:.1f}", f"{fit / took:.1f} x", "2 x",
            holds=mine_ <= other_ and fit >= 2 * took,
        )  # fmt: skip
    shutil.rmtree(folder)
    return report.finish(None if asked.only else asked.results, "bench-peers.md")


if __name__ == "__main__":
    sys.exit(main())
