"""What a night costs beyond the work: ten small use cases against plain pandas and torch: `make bench-overhead`.

The peer reads the same csv files, makes such features, trains a network as large for as many epochs on the same rows
and predicts, one use case after the other in one warm process; it keeps no table, no model and no trace.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from town import CONFIGURATION, FIRST, USE_CASE, Town, found, readings

from nightmill import provenance
from nightmill.commands import Work
from nightmill.nightly import Night, nightly

CASES, DAYS, DETECTORS = 10, 14, "abcdefghij"
EPOCHS, WINDOW, HORIZON = 2, 4, 2
HEAD = """# What a night costs beyond the work

{stamp}
{cases} use cases, each with a data set of its own: {detectors} detectors, {days} days of half-hourly readings, {epochs}
epochs. The bare work is plain pandas and torch over the same files in one warm process, without any table.

| | s | of it bare work | beyond it, per use case |
|---|---|---|---|
"""


def build(folder: Path) -> Town:
    """A town with ten systems and their history."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    town = found(folder)
    (folder / "conf/town/speeds.yaml").unlink()
    text = USE_CASE.replace(", roads: {from: data/town/roads, as: graph}", "")
    text = "".join(line for line in text.splitlines(keepends=True) if "neighbours" not in line)
    for n in range(CASES):
        name = f"speeds{n}"
        data = CONFIGURATION["data/town/speeds.yaml"].replace("/speeds/", f"/{name}/")
        (folder / f"conf/data/town/{name}.yaml").write_text(data)
        (folder / f"conf/town/{name}.yaml").write_text(text.replace("data/town/speeds", f"data/town/{name}"))
    (folder / "conf/data/town/speeds.yaml").unlink()
    for n in range(DAYS + 1):
        deliver(town, FIRST + timedelta(days=n))
    return town


def deliver(town: Town, day: date) -> None:
    """The drops of a day."""
    for n in range(CASES):
        path = town.raw / f"speeds{n}" / str(day) / "a.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["detector,ts,speed", *readings(day, DETECTORS, 40.0 + n)]) + "\n")


def bare(town: Town, name: str, days: list[date], network: torch.nn.Module | None) -> torch.nn.Module:
    """Files to predictions, with nothing kept; trains where no network is given."""
    files = [town.raw / name / str(day) / "a.csv" for day in days]
    rows = pd.concat([pd.read_csv(file) for file in files]).drop_duplicates(["detector", "ts"], keep="last")
    local = pd.to_datetime(rows["ts"]).dt.tz_localize("Europe/Berlin")
    rows = rows[rows["speed"].between(0, 200)].assign(ts=local.dt.tz_convert("UTC"), minute=local.dt.hour * 60)
    wide = rows.pivot_table(index="ts", columns="detector", values="speed").interpolate()
    means = wide.mean(axis=1)
    inputs, targets = [], []
    for detector in wide.columns:
        values = np.stack([wide[detector], means, wide.index.hour, wide.index.dayofweek], axis=1).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW, axis=0)
        inputs.append(windows.reshape(len(windows), -1))
        ahead = np.lib.stride_tricks.sliding_window_view(values[WINDOW:, 0], HORIZON)
        targets.append(ahead)
    if network is None:
        x = torch.from_numpy(np.concatenate([i[: len(t)] for i, t in zip(inputs, targets)]))
        y = torch.from_numpy(np.concatenate(targets).copy())
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, HORIZON))
        optimizer = torch.optim.AdamW(network.parameters(), 0.01)
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(x)).split(64):
                loss = (network(x[batch]) - y[batch]).abs().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    with torch.inference_mode():
        network(torch.from_numpy(np.stack([i[-1] for i in inputs])))
    return network


def night(town: Town, day: date) -> Night:
    """One night in this process; its first also starts Spark."""
    outcome = nightly(Work(town.configuration("train.workers=2"), "nightly", [day]), ["all"])
    for error in outcome.failures.values():
        raise error
    found = outcome.results[str(day)]
    assert isinstance(found, Night)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-overhead"))
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    given = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.CRITICAL)
    town = build(given.folder)
    days = [FIRST + timedelta(days=n) for n in range(DAYS + 1)]
    names = [f"speeds{n}" for n in range(CASES)]
    bare(town, names[0], days[:1], None)  # warm
    begun = time.monotonic()
    networks = {name: bare(town, name, days[:-1], None) for name in names}
    training = time.monotonic() - begun
    begun = time.monotonic()
    for name in names:
        bare(town, name, days[-2:], networks[name])
    scoring = time.monotonic() - begun
    first, second, again = night(town, days[-2]), night(town, days[-1]), night(town, days[-1])
    assert again.idle, "nothing is left to do"
    lines = [
        ("first night, with the start of Spark and Ray, two weeks of drops and ten trainings", first.seconds, training),
        ("next night, one day's drops, no training", second.seconds, scoring),
        ("the same night again: nothing to do", again.seconds, 0.0),
    ]
    head = HEAD.format(stamp=provenance.stamp(), cases=CASES, detectors=len(DETECTORS), days=DAYS, epochs=EPOCHS)
    rows = [f"| {name} | {s:.1f} | {work:.1f} | {(s - work) / CASES:.1f} |\n" for name, s, work in lines]
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "bench-overhead.md").write_text(head + "".join(rows))
    print(head + "".join(rows))


if __name__ == "__main__":
    main()
