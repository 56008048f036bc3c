"""Trains a registered model again from the version of its table, and compares the weights digit by digit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from safetensors.numpy import load

from nightmill.config.environment import Environment
from nightmill.errors import ConfigError, DataRefused, NightmillError
from nightmill.handoff import pin
from nightmill.lake.files import Folder
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.models.bundle import WEIGHTS, Bundle
from nightmill.train.job import TrainJob
from nightmill.train.ray_group import Progress, train_all


@dataclass
class Reproduced:
    """What came of training a version again."""

    use_case: str
    version: int
    same: bool
    """Whether every weight has the same digits."""
    largest_difference: float
    """Between two weights of the same place."""
    parameters: int
    """Numbers compared."""
    workers: int
    gold_version: int
    seconds: float
    differing: list[str] = field(default_factory=list)
    """Names of weights that differ, by size of the difference, the largest first."""


def reproduce(
    lake: Lake,
    registry: Registry,
    use_case: str,
    version: int | None,
    run: str,
    environment: Environment,
    progress: Callable[[Progress], None],
) -> Reproduced:
    """Trains a version (the champion's without it) anew, as it was trained: options, seed, workers, table version.

    Nothing is registered, and nothing is left behind. Raises ConfigError where there is no such version or it does not
    say how it was trained, DataRefused where its table version is gone or holds other files.
    """
    wanted = version if version is not None else registry.champion(use_case)
    if wanted is None:
        fix = "name a version with --version, or promote one with the evaluate command"
        raise ConfigError(f"{use_case} has no champion", where=use_case, fix=fix)
    files = registry.load(use_case, wanted)
    bundle = Bundle.from_files(files, f"{use_case} version {wanted}")
    gold = lake.table("gold", use_case)
    place = f"{lake.root}/ops/training/{use_case.replace('/', '.')}/reproduce-{run}"
    job = replace(
        TrainJob.from_bundle(bundle, gold.uri, lake.storage_options),
        checkpoint=f"{place}/checkpoint",
        result=f"{place}/result",
        memory=environment.handoff.memory,
    )
    _refuse_other_files(job, bundle)
    workers = int(bundle.training["workers"])
    begun = time.perf_counter()
    try:
        # one process that was a group of one has the same digits without a group
        (found,) = train_all([job], 0 if workers == 1 else workers, environment, progress)
        if isinstance(found, NightmillError):
            raise found
        theirs = load(found.bundle.to_files()[WEIGHTS])
    finally:
        Folder(place, lake.storage_options).remove()
    ours = load(files[WEIGHTS])
    differences = {name: _apart(ours[name], theirs[name]) for name in ours}
    differing = sorted((name for name, size in differences.items() if size), key=lambda name: -differences[name])
    return Reproduced(
        use_case=use_case,
        version=wanted,
        same=not differing,
        largest_difference=max(differences.values(), default=0.0),
        parameters=sum(values.size for values in ours.values()),
        workers=workers,
        gold_version=int(bundle.gold["version"]),
        seconds=time.perf_counter() - begun,
        differing=differing,
    )


def _apart(ours: Any, theirs: Any) -> float:
    """The largest difference between two arrays; infinite where they are of different sizes, as forests may be."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0))


def _refuse_other_files(job: TrainJob, bundle: Bundle) -> None:
    pinned = json.loads(pin(job.gold, job.version, job.storage_options or None).to_json())
    if pinned["files"] != bundle.gold["files"]:
        what = f"version {job.version} of the table holds other files than the model was trained on"
        raise DataRefused(what, where=job.gold, fix="restore the table as it was: it was made anew since")
