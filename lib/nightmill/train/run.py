"""The stages `train` and `search`: several use cases, leased each, in one worker group."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TypeVar

import pyarrow as pa

from nightmill.config import DataSet, Environment, UseCase
from nightmill.errors import NightmillError
from nightmill.handoff import Cache
from nightmill.lake.registry import Registry
from nightmill.lake.run import Step, step
from nightmill.lake.tables import Lake
from nightmill.train.job import SearchJob, Trained, TrainJob
from nightmill.train.ray_group import Progress, search_all, train_all
from nightmill.train.results import Results
from nightmill.train.search import Searched
from nightmill.train.tracking import Tracking

log = logging.getLogger(__name__)
Job = TypeVar("Job", bound=TrainJob)
Outcome = TypeVar("Outcome")
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Wanted:
    """One model that is asked for."""

    use_case: UseCase
    series: DataSet
    features: tuple[str, ...]
    seed: int | None = None
    fold: int = 0


@dataclass
class Candidate:
    """A model that was trained and registered."""

    use_case: str
    version: int
    trained: Trained


def train(
    lake: Lake,
    run_id: str,
    wanted: list[Wanted],
    environment: Environment,
    registry: Registry,
    progress: Callable[[Progress], None],
) -> list[Candidate | NightmillError]:
    """Trains and registers one candidate per use case, in the order asked; a failure stands in its place.

    Each use case is leased for the time of the training. Interrupted trainings continue from their checkpoints.
    """

    def keep(current: Step, item: Wanted, asked: TrainJob, trained: Trained) -> Candidate:
        candidate = _register(current, item, trained, registry)
        Results(asked).remove()
        return candidate

    return _leased(
        lake,
        run_id,
        "train",
        wanted,
        environment,
        lambda current, item: job(lake, current, item, run_id, environment, registry),
        lambda jobs: train_all(jobs, *_workers(jobs, environment, progress)),
        keep,
    )


def search(
    lake: Lake,
    run_id: str,
    wanted: list[Wanted],
    environment: Environment,
    registry: Registry,
    progress: Callable[[Progress], None],
) -> list[Searched | NightmillError]:
    """Searches the options of each use case, in the order asked; a failure stands in its place.

    Each use case is leased for that time. Trials that an earlier search of the same space made on the same gold count.
    """

    def make(current: Step, item: Wanted) -> SearchJob:
        asked = job(lake, current, item, run_id, environment)
        found = SearchJob(**vars(asked))
        return replace(found, checkpoint=f"{posixpath.dirname(asked.checkpoint)}/{found.digest}-{asked.version}.trials")

    def keep(current: Step, item: Wanted, asked: SearchJob, found: Searched) -> Searched:
        Results(asked).folder.remove()
        Tracking(registry).log_search(item.use_case, found, posixpath.basename(asked.checkpoint), current.run_id)
        return found

    return _leased(
        lake,
        run_id,
        "search",
        wanted,
        environment,
        make,
        lambda jobs: search_all(jobs, *_workers(jobs, environment, progress)),
        keep,
    )


def _leased(
    lake: Lake,
    run_id: str,
    name: str,
    wanted: list[Wanted],
    environment: Environment,
    make: Callable[[Step, Wanted], Job],
    work: Callable[[list[Job]], Sequence[Outcome | NightmillError]],
    keep: Callable[[Step, Wanted, Job, Outcome], Kept],
) -> list[Kept | NightmillError]:
    """Makes a job of each use case under a lease of its own, works on all together, and keeps what came of each."""
    held: dict[int, tuple[AbstractContextManager[Step], Step]] = {}
    results: dict[int, Kept | NightmillError] = {}
    jobs: dict[int, Job] = {}
    try:
        for place, item in enumerate(wanted):
            try:
                context = step(lake, run_id, name, item.use_case.name, environment.lease.expires)
                held[place] = (context, context.__enter__())
                held[place][1].begin()
                jobs[place] = make(held[place][1], item)
            except NightmillError as error:
                results[place] = error
                _end(held.pop(place, None), error)
        for place, outcome in zip(jobs, work(list(jobs.values())) if jobs else (), strict=True):
            context_and_step = held.pop(place)
            try:
                if isinstance(outcome, NightmillError):
                    raise outcome
                results[place] = keep(context_and_step[1], wanted[place], jobs[place], outcome)
                _end(context_and_step, None)
            except NightmillError as error:
                results[place] = error
                _end(context_and_step, error)
    except BaseException as error:
        for context_and_step in held.values():
            _end(context_and_step, error)
        raise
    return [results[place] for place in range(len(wanted))]


def job(
    lake: Lake,
    current: Step,
    item: Wanted,
    run_id: str,
    environment: Environment,
    registry: Registry | None = None,
) -> TrainJob:
    """The training job of a use case on the newest gold; raises DataRefused where there is none.

    Without a registry it begins with new weights, whatever the use case says.
    """
    gold = lake.table("gold", item.use_case.name)
    version = current.read(gold)
    time = item.series.clock
    name, seed = item.use_case.name.replace("/", "."), item.use_case.train.seed if item.seed is None else item.seed
    fold = f"/fold-{item.fold}" if item.fold else ""
    work = f"{lake.root}/ops/training/{name}/seed-{seed}{fold}"
    asked = TrainJob(
        use_case=item.use_case,
        gold=gold.uri,
        version=version,
        features=item.features,
        every=time.every,
        seed=seed,
        fold=item.fold,
        array=item.series.contract.array_of(item.use_case.array),
        checkpoint="",
        result=f"{work}/result-{run_id}",
        storage_options=lake.storage_options,
        zone=time.zone,
        start=_start(item.use_case, registry),
        since=_since(item.use_case, gold.delta(version).get_add_actions(flatten=True)),
        memory=environment.handoff.memory,
        cache=Cache.at(environment.handoff.cache, environment.handoff.size),
    )
    # another option or another table is another checkpoint: only the same training is continued
    return replace(asked, checkpoint=f"{work}/{asked.digest}-{version}.checkpoint")


def _workers(
    jobs: Sequence[TrainJob], environment: Environment, progress: Callable[[Progress], None]
) -> tuple[int, Environment, Callable[[Progress], None], int]:
    """What `train_all` is told beside the jobs: as many workers as the one that wants most."""
    options = [j.use_case.train for j in jobs]
    fewest = max(o.workers if o.min_workers is None else o.min_workers for o in options)
    return max(o.workers for o in options), environment, progress, fewest


def _start(use_case: UseCase, registry: Registry | None) -> str | None:
    """Where the weights are that the training begins with; the first model of a use case has none."""
    champion = registry.champion(use_case.name) if registry is not None and use_case.train.start else None
    return None if registry is None or champion is None else registry.stored(use_case.name, champion).place


def _since(use_case: UseCase, actions: object) -> int | None:
    """First time that `train.history` lets training see, µs UTC, counted back from the table's last row."""
    if use_case.train.history is None:
        return None
    last = max(moment for moment in pa.table(actions).column("max.ts").to_pylist())
    aware = last if last.tzinfo else last.replace(tzinfo=UTC)
    return round((aware - use_case.train.history).timestamp() * 1_000_000)


def _register(current: Step, item: Wanted, trained: Trained, registry: Registry) -> Candidate:
    current.lease.verify()
    name = item.use_case.name
    if trained.resumed_from is not None:
        log.info("train %s: an interrupted training was continued from step %d", name, trained.resumed_from)
    version = registry.register(trained.bundle.to_files(), name, current.run_id)
    Tracking(registry).log(item.use_case, trained, version, current.run_id)
    current.metric(
        [
            {"metric": metric, "of": "candidate on validation", "value": value, "model_version": version}
            for metric, value in trained.bundle.metrics.items()
        ]
    )
    return Candidate(name, version, trained)


def _end(held: tuple[AbstractContextManager[Step], Step] | None, error: BaseException | None) -> None:
    """Ends a step as a `with` block would; the error itself is reported elsewhere."""
    if held is None:
        return
    try:
        held[0].__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
    except BaseException as raised:
        if raised is not error:
            raise


def backtest_models(
    current: Step, wanted: list[Wanted], environment: Environment, progress: Callable[[Progress], None]
) -> list[Trained]:
    """One model per seed and fold in one worker group, registered nowhere; raises the first failure."""
    jobs = [job(current.lake, current, item, current.run_id, environment) for item in wanted]
    found = train_all(jobs, *_workers(jobs, environment, progress))
    for outcome in found:
        if isinstance(outcome, NightmillError):
            raise outcome
    return [outcome for outcome in found if isinstance(outcome, Trained)]
