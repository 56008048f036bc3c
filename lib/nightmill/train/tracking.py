"""What MLflow is told of a training: options, figures per epoch, and which table and version it belongs to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightmill.config.usecase import UseCase
from nightmill.lake.registry import Registry
from nightmill.train.job import Trained

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
        made = self.registry.call(
            lambda c: c.create_run(experiment, tags=tags, run_name=f"{use_case.name} version {version}")
        )
        identity = str(made.info.run_id)
        self.registry.call(lambda c: _write(c, identity, use_case, trained))
        self.registry.call(lambda c: c.set_terminated(identity))
        self.registry.tag(use_case.name, version, "mlflow_run", identity)
        return identity

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
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    per_epoch = [
        Metric(name, line[name], now, int(line["epoch"]))
        for line in trained.history
        for name in PER_EPOCH
        if name in line
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
    listed = [Param(name, text) for name, text in params.items()]
    for start in range(0, len(listed), PER_CALL):
        client.log_batch(run, params=listed[start : start + PER_CALL])
