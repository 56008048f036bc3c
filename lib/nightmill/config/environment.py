"""An environment: the engines and where things lie. `conf/base.yaml` and `conf/env/*.yaml`."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, PositiveInt

from nightmill.config.values import Duration, Options, Size


class Spark(Options):
    """The Spark session."""

    master: str | None = "local[*,2]"
    """Spark master; null leaves it to spark-submit."""
    memory: str = Field(default="2g", pattern=r"^[1-9][0-9]*[kmgtKMGT]$")
    """Driver heap where Nightmill itself starts the JVM, as in 512m or 2g."""
    shuffle_partitions: PositiveInt = 16
    """Partitions after a shuffle, at most: Spark merges small ones."""
    settings: dict[str, str] = {}
    """Further Spark settings by their own names."""


class Ray(Options):
    """The Ray cluster that trains."""

    address: str | None = None
    """Address of a running cluster; null starts one on this machine for the time of the training."""
    cpus_per_worker: float = Field(default=1, gt=0)
    """CPUs reserved for each worker."""
    resize: Duration = timedelta(minutes=1)
    """How often a training with train.min_workers looks whether there are machines for more workers again."""
    gpus: bool | None = None
    """Whether each worker gets a GPU; null uses them where Ray sees any."""


class Handoff(Options):
    """How rows get from tables to models."""

    memory: Size = 4 * 2**30
    """Rows that a training worker, or an evaluation, holds in memory; beyond that the cache serves them."""
    cache: str | None = None
    """Folder of the cache, on a fast local disk that every worker has; null takes the system's for temporary files."""
    size: Size = 50 * 2**30
    """What the cache may hold, for all workers of a machine; what was used longest ago goes first."""


class Mlflow(Options):
    """Tracking and the model registry."""

    uri: str | None = None
    """Tracking server; null keeps a SQLite file in the lake."""


class Lease(Options):
    """The right to write to one data set or use case."""

    expires: Duration = timedelta(minutes=2)
    """A run that has not renewed its lease for this long is taken for dead."""


class Night(Options):
    """How a night runs."""

    at_once: PositiveInt = 2
    """Data sets and use cases that are worked on side by side."""
    lookback: Duration = timedelta(days=7)
    """How far back late and corrected drops, and days without predictions, are looked for."""
    budget: Duration | None = None
    """Time for data and training. After it no such step begins and training stops until another night; what is ready is
    still scored and reported."""
    prometheus: str | None = None
    """File that receives the night's figures and alarms in Prometheus' text format, for its node exporter."""


class Environment(Options):
    """The engines and where things lie."""

    raw: str | None = None
    """Folder of the raw drops: `${raw}` in data sets. --raw overrides it."""
    lake: str = "lake"
    """Folder or URI of the tables. --lake overrides it."""
    spark: Spark = Spark()
    """The Spark session."""
    ray: Ray = Ray()
    """The Ray cluster."""
    handoff: Handoff = Handoff()
    """From tables to models."""
    mlflow: Mlflow = Mlflow()
    """Tracking and registry."""
    lease: Lease = Lease()
    """Leases."""
    night: Night = Night()
    """The command `nightly`."""
