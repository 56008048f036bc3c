"""What MLflow is told of a training: options, figures per epoch, and which table and version it belongs to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nightmill.config.usecase import UseCase
from nightmill.lake.registry import Registry
from nightmill.train.job import Trained
from nightmill.train.search import Searched, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST = 500
"""Characters of a parameter's value that MLflow stores."""
PER_CALL = 100
"""Parameters that MLflow takes at once."""
PER_EPOCH = ("loss", "validation_loss", "learning_rate", "seconds", "samples_per_second")


@dataclass(frozen=True)
class Tracking:
    """MLflow's experiments; each use case is one."""

    registry: Registry

    def log(self, use_case: UseCase, trained: Trained, version: int, run: str) -> str:
        """Writes one finished training as an MLflow run, which the model version then names; returns the run's id."""
        tags = {
            "use_case": use_case.name,
            "model_version": str(version),
            "gold_version": str(trained.bundle.gold["version"]),
            "config": trained.bundle.config,
            "run": run,
        }
        experiment = self._experiment(use_case.name)
        write = partial(_write, use_case=use_case, trained=trained)
        identity = self._run(experiment, tags, f"{use_case.name} version {version}", write)
        self.registry.tag(use_case.name, version, "mlflow_run", identity)
        return identity

    def log_search(self, use_case: UseCase, found: Searched, search: str, run: str) -> None:
        """Writes each trial of a search that is not there yet as an MLflow run below one of the search."""
        experiment = self._experiment(use_case.name)
        written = {item.data.tags.get("trial", ""): item.info.run_id for item in self._runs_of(experiment, search)}
        tags = {"use_case": use_case.name, "search": search, "gold_version": str(found.gold_version), "run": run}
        parent = written.get("") or self._run(experiment, tags, f"search {search}", partial(_write_search, found=found))
        for trial in found.trials:
            if str(trial.number) not in written:
                mine = tags | {"trial": str(trial.number), "state": trial.state, "mlflow.parentRunId": parent}
                write = partial(_write_trial, use_case=use_case, trial=trial)
                self._run(experiment, mine, f"trial {trial.number}", write)

    def _run(self, experiment: str, tags: dict[str, str], name: str, write: Callable[[MlflowClient, str], None]) -> str:
        """A finished MLflow run of what `write` puts into it; returns its id."""
        identity = str(self.registry.call(lambda c: c.create_run(experiment, tags=tags, run_name=name)).info.run_id)
        self.registry.call(lambda c: write(c, identity))
        self.registry.call(lambda c: c.set_terminated(identity))
        return identity

    def _runs_of(self, experiment: str, search: str) -> list[Any]:
        found, token = list[Any](), None
        while True:
            page = self.registry.call(
                partial(_page, experiment=experiment, query=f"tags.search = '{search}'", token=token)
            )
            found += page
            token = page.token
            if not token:
                return found

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.registry.call(lambda c: c.get_experiment_by_name(name))
        if found is not None:
            return str(found.experiment_id)
        place = f"{self.registry.folder}/{name}/runs"
        try:
            return str(self.registry.call(lambda c: c.create_experiment(name, artifact_location=place)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._experiment(name)


def flattened(options: Any, prefix: str = "") -> dict[str, str]:
    """Nested options as dotted names and texts: {"train": {"epochs": 3}} -> {"train.epochs": "3"}."""
    if isinstance(options, dict):
        parts = [flattened(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in options.items()]
        return {name: text for part in parts for name, text in part.items()}
    return {prefix: str(options)[:LONGEST]}


def _write(client: MlflowClient, run: str, use_case: UseCase, trained: Trained) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    per_epoch = [
        Metric(name, line[name], now, int(line["epoch"]))
        for line in trained.history
        for name in PER_EPOCH
        if name in line and line[name] == line[name]
    ]
    final = {f"validation_{name}": value for name, value in trained.bundle.metrics.items()}
    final |= {"training_seconds": trained.seconds, "training_samples": float(trained.samples)}
    metrics = per_epoch + [Metric(name, value, now, 0) for name, value in final.items() if value == value]
    for start in range(0, len(metrics), 1000):
        client.log_batch(run, metrics=metrics[start : start + 1000])
    params = flattened(use_case.model_dump(mode="json")) | {
        "seed": str(trained.bundle.seed),
        "workers": str(trained.workers),
    }
    _write_params(client, run, params)


def _write_search(client: MlflowClient, run: str, found: Searched) -> None:
    client.log_metric(run, "trials", len(found.trials))
    if found.best is not None and found.best.loss is not None:
        client.log_metric(run, "validation_loss", found.best.loss)
        _write_params(client, run, {name: str(value) for name, value in found.best.options.items()})


def _write_trial(client: MlflowClient, run: str, use_case: UseCase, trial: Trial) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric("validation_loss", x, now, epoch) for epoch, x in enumerate(trial.losses, 1) if x is not None]
    client.log_batch(run, metrics=[*metrics, Metric("training_seconds", trial.seconds, now, 0)])
    _write_params(client, run, flattened(use_case.having(trial.options).model_dump(mode="json")))
    if trial.why:
        client.set_tag(run, "why", trial.why)


def _write_params(client: MlflowClient, run: str, params: dict[str, str]) -> None:
    from mlflow.entities import Param

    listed = [Param(name, text) for name, text in params.items()]
    for start in range(0, len(listed), PER_CALL):
        client.log_batch(run, params=listed[start : start + PER_CALL])


def _page(client: MlflowClient, experiment: str, query: str, token: str | None) -> Any:
    return client.search_runs([experiment], query, page_token=token)
