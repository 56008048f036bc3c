"""Trains many models in one group of Ray Train workers, or in this process. The only file that imports Ray.

Starting a group costs tens of seconds, so a night's models share one and are trained in turn. Ray brings the processes
together and restarts the group when one is lost; everything else (order of samples, checkpoints, results) is ours.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch

from nightmill.config.environment import Environment
from nightmill.config.environment import Ray as RayOptions
from nightmill.errors import MachineError, NightmillError, WorkFailed
from nightmill.train import failure, ranks
from nightmill.train.failure import MOST_ATTEMPTS
from nightmill.train.job import Prepared, SearchJob, Trained, TrainJob, prepare
from nightmill.train.one import train_one
from nightmill.train.results import Results
from nightmill.train.search import Searched, search_one

log = logging.getLogger(__name__)

Progress = dict[str, Any]
"""What is told of each epoch: use_case, seed, a line of the history (see Trained), in a search the trial's number."""

LOSSES = 20
"""Workers that a group may lose beyond what its models are given up for: machines that are taken away."""
OBJECT_STORE = 200 * 2**20
"""Bytes. Only the jobs' descriptions pass through Ray; rows never do."""
TEMPORARY = "nightmill-"
"""Start of the names of Ray's folders, before the process id of their owner."""
LOOK_EVERY = 0.5
"""Seconds between looks for news of the workers."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_LOG_TO_DRIVER": "0",
}


Job = TypeVar("Job", bound=TrainJob)


def train_all(
    jobs: Sequence[TrainJob],
    workers: int,
    environment: Environment,
    progress: Callable[[Progress], None] = lambda _: None,
    fewest: int | None = None,
) -> list[Trained | NightmillError]:
    """Trains the jobs in turn on `workers` Ray Train workers, 0 = in this process; one outcome per job, in order.

    A job that fails leaves its error in its place and does not stop the others. A job whose checkpoint is there goes
    on from it. A lost worker restarts the group, which goes on likewise; where machines are lost, with `fewest`
    workers at least, until there are machines again. Raises MachineError where Ray cannot start.
    """
    return [found for found in _all(jobs, workers, environment, progress, fewest) if not isinstance(found, Searched)]


def search_all(
    jobs: Sequence[SearchJob],
    workers: int,
    environment: Environment,
    progress: Callable[[Progress], None] = lambda _: None,
    fewest: int | None = None,
) -> list[Searched | NightmillError]:
    """As `train_all`, for searches: all trials of all of them in one group of workers."""
    return [found for found in _all(jobs, workers, environment, progress, fewest) if not isinstance(found, Trained)]


def _all(
    jobs: Sequence[TrainJob],
    workers: int,
    environment: Environment,
    progress: Callable[[Progress], None],
    fewest: int | None,
) -> list[Trained | Searched | NightmillError]:
    jobs = [_absolute(job) for job in jobs]
    results = [Results(job) for job in jobs]
    ready: list[Prepared] = []
    for job, result in zip(jobs, results, strict=True):
        result.clear()
        try:
            ready.append(prepare(job, workers))
        except Exception as error:
            _log(error)
            result.fail(error)
    if ready and workers == 0:
        _in_process(ready, progress)
    elif ready:
        _in_group(ready, (min(fewest or workers, workers), workers), environment.ray, progress)
    return [_outcome(result) for result in results]


def _in_process(ready: Sequence[Prepared], progress: Callable[[Progress], None]) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = ranks.share_cores(1)
    try:
        for prepared in ready:
            name, result = _name(prepared), Results(prepared.job)
            try:
                result.finish(_one(prepared, device, _named(name, progress)))
            except Exception as error:
                _log(error)
                result.fail(error)
    finally:
        torch.set_num_threads(threads)


def _in_group(
    ready: Sequence[Prepared], workers: tuple[int, int], options: RayOptions, progress: Callable[[Progress], None]
) -> None:
    results = [Results(prepared.job) for prepared in ready]
    names = [_name(prepared) for prepared in ready]

    def tell() -> None:
        for name, result in zip(names, results, strict=True):
            for line in result.news():
                progress(name | line)

    log.info("starting %d training workers, which takes a minute or so", workers[1])
    with _ray(workers[1], options) as folder:
        failed: list[BaseException] = []
        fitting = threading.Thread(target=_fit, args=(ready, workers, options, folder, failed), daemon=True)
        fitting.start()
        while fitting.is_alive():
            fitting.join(LOOK_EVERY)
            tell()
        tell()
    for result in results:
        if failed and result.outcome(read=False) is None:
            _log(failed[0])
            result.fail(
                WorkFailed(f"the training workers stopped: {_reason(failed[0])}", fix="look at memory and disk")
            )


def _fit(
    ready: Sequence[Prepared], workers: tuple[int, int], options: RayOptions, folder: str, failed: list[BaseException]
) -> None:
    """Runs the group to its end; what it raises goes to `failed`, because it runs in a thread."""
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        gpus = options.gpus
        if gpus is None:
            gpus = ray.cluster_resources().get("GPU", 0) >= workers[0]
        per_worker = {"CPU": options.cpus_per_worker} | ({"GPU": 1.0} if gpus else {})
        scaling: dict[str, Any] = {"use_gpu": gpus, "resources_per_worker": per_worker, "num_workers": workers[1]}
        if workers[0] < workers[1]:
            scaling |= {"num_workers": workers, "elastic_resize_monitor_interval_s": options.resize.total_seconds()}
        TorchTrainer(
            _work,
            train_loop_config={"ready": list(ready)},
            scaling_config=ScalingConfig(**scaling),
            run_config=RunConfig(
                # a name used before would silently resume that run
                name=uuid.uuid4().hex,
                storage_path=folder,
                failure_config=FailureConfig(max_failures=MOST_ATTEMPTS * len(ready) + LOSSES),
            ),
        ).fit()
    except BaseException as error:
        failed.append(error)


def _work(config: dict[str, Any]) -> None:
    """One worker: the jobs in turn, skipping those that an earlier attempt of the group has finished."""
    import ray.train
    from ray.train.torch import get_device

    ranks.share_cores(ray.train.get_context().get_local_world_size())
    device = get_device()
    first = ranks.rank() == 0
    for prepared in config["ready"]:
        result = Results(prepared.job)
        if not ranks.from_first(result.begin() if first else None):
            continue
        try:
            found = _one(prepared, device, result.progress)
            error = _written(result, found) if first else None
            ranks.agree(error)
        except NightmillError as agreed:
            # raised by all ranks together; anything else ends this worker, and Ray restarts the group
            if first:
                result.fail(agreed)
            ranks.agree(None)
        except Exception as error:
            # on this worker alone: the group starts again without this model; a search goes on without the trial
            if failure.of_memory(error) and not isinstance(prepared.job, SearchJob):
                result.fail(error)
            raise


def _one(prepared: Prepared, device: torch.device, on_epoch: Callable[[dict[str, float]], None]) -> Trained | Searched:
    return (search_one if isinstance(prepared.job, SearchJob) else train_one)(prepared, device, on_epoch)


def _written(result: Results, found: Trained | Searched) -> Exception | None:
    try:
        result.finish(found)
    except Exception as error:
        return error
    return None


@contextmanager
def _ray(workers: int, options: RayOptions) -> Iterator[str]:
    """Ray for the time of a training, silent: connected where an address is given, else started here and stopped.

    Yields the folder in which Ray Train keeps its own notes.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # sockets of the object store lie below this folder, and their paths may have 107 characters
    folder = tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}-", dir=_remove_orphans())
    terminate = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray

        mine = not ray.is_initialized()
        try:
            if mine:
                _start(ray, workers, options, folder)
            logging.getLogger("ray").setLevel(logging.ERROR)
            if callable(terminate) and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminate)  # Ray has put its own in the place
            yield os.path.join(folder, "train")
        finally:
            if mine:
                ray.shutdown()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminate)
            shutil.rmtree(folder, ignore_errors=True)


def _remove_orphans() -> str:
    """Removes what killed processes left of Ray's folders; returns the place of such folders."""
    place = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()
    for name in os.listdir(place):
        owner = name.removeprefix(TEMPORARY).partition("-")[0]
        if name.startswith(TEMPORARY) and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)
    return place


def _start(ray: Any, workers: int, options: RayOptions, folder: str) -> None:
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if options.address:
            ray.init(address=options.address, **quiet)
            return
        ray.init(
            num_cpus=max(1, math.ceil(workers * options.cpus_per_worker)),
            object_store_memory=OBJECT_STORE,
            include_dashboard=False,
            _temp_dir=folder,
            **quiet,
        )
    except Exception as error:
        where = options.address or "this machine"
        fix = "check ray.address in the environment" if options.address else "train with --set train.workers=0"
        raise MachineError(f"Ray cannot start: {_reason(error)}", where=where, fix=fix) from error


def _outcome(result: Results) -> Trained | Searched | NightmillError:
    found = result.outcome()
    if found is None or isinstance(found, bool):
        return WorkFailed("training ended without a result", where=result.job.use_case.name, fix="run it again")
    return found


def _absolute(job: Job) -> Job:
    """Workers run in other folders than this process."""
    places = {name: getattr(job, name) for name in ("gold", "checkpoint", "result", "start")}
    absolute = {name: p if "://" in p else os.path.abspath(p) for name, p in places.items() if p is not None}
    return replace(job, **absolute)


def _name(prepared: Prepared) -> Progress:
    return {"use_case": prepared.job.use_case.name, "seed": prepared.job.seed}


def _named(name: Progress, progress: Callable[[Progress], None]) -> Callable[[dict[str, float]], None]:
    return lambda line: progress(name | line)


def _reason(error: BaseException) -> str:
    return failure.to_json(error)["what"].removeprefix("training stopped: ")


def _log(error: BaseException) -> None:
    if not isinstance(error, NightmillError):
        log.debug("unexpected failure", exc_info=error)
