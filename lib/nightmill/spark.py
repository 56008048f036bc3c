"""The one place that builds a Spark session."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightmill.config.environment import Environment
from nightmill.errors import MachineError
from nightmill.java import require_java

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(64 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20)}
"""Environment of Python workers: glibc else gives blocks of a batch's size back, and every page is cleared anew."""

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # the hand-off reads Parquet files itself, so rows are never masked by a deletion vector
    "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.databricks.delta.schema.autoMerge.enabled": "false",
}
_DEFAULTS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # a worker reads whole row groups, and of daily files only those that hold its entities
    "spark.hadoop.parquet.block.row.count.limit": "65536",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # every encoding that Java has
    "spark.sql.legacy.javaCharsets": "true",
    # pandas writes times in nanoseconds, for which Spark has no type
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    **{f"spark.executorEnv.{name}": value for name, value in KEEP_FREED.items()},
    # longer methods are never compiled by the JVM: a contract of many columns is evaluated in parts instead
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # what one filter says of dozens of renamed columns has more variants than a planner can list
    "spark.sql.constraintPropagation.enabled": "false",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    # each column operation would else look at the Python stack: a fifth of the time to build a long expression
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}
_LOCAL = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


Start = Callable[[], "SparkSession"]
"""Starts Spark, or returns the session that there is: a stage that finds nothing to do needs none."""


@cache
def require_engine() -> None:
    """Raises MachineError where Spark could not start; under spark-submit it has. Java is asked once per process."""
    if not _submitted():
        require_java()


def session(environment: Environment, app: str = "nightmill") -> SparkSession:
    """The session of this process, started on first use; raises MachineError where Java or Delta is missing."""
    from pyspark.logger import PySparkLogger
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    require_engine()
    submitted = _submitted()
    settings = {**_DEFAULTS, **_DELTA, "spark.sql.shuffle.partitions": str(environment.spark.shuffle_partitions)}
    if not submitted:
        settings["spark.driver.memory"] = environment.spark.memory
        if (environment.spark.master or "local[*]").startswith("local"):
            settings |= _LOCAL
    settings |= environment.spark.settings
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app)
    if environment.spark.master and not submitted:
        builder = builder.master(environment.spark.master)
    for key, value in settings.items():
        builder = builder.config(key, value)
    for name in ("DataFrameQueryContextLogger", "SQLQueryContextLogger"):
        PySparkLogger.getLogger(name).disabled = True  # what they write as JSON is raised, too
    log = Path(tempfile.gettempdir()) / f"nightmill-{os.getuid()}" / f"spark-{os.getpid()}.log"
    try:
        with _output_to(log):
            started = builder.getOrCreate()
    except KeyboardInterrupt:
        _end_jvm()
        raise
    except Exception as error:
        _end_jvm()
        raise MachineError(
            f"Spark did not start: {str(error).splitlines()[0]}", where=str(log), fix="run `nightmill doctor`"
        ) from error
    _require_delta(started)
    return started


def cancel_jobs() -> None:
    """Ends all that Spark is doing, if it runs at all."""
    from pyspark import SparkContext

    active = SparkContext._active_spark_context
    if active is not None:
        active.cancelAllJobs()


@contextmanager
def held(frame: DataFrame) -> Iterator[DataFrame]:
    """The rows of a frame, evaluated once however often they are used inside.

    On one machine they are put aside on disk as they are, which takes a third of the time of a cache by columns; on a
    cluster they are cached, so that the rows of a lost executor are made again.
    """
    from pyspark import StorageLevel

    if (frame.sparkSession.sparkContext.master or "").startswith("local"):
        kept = frame.localCheckpoint(False, StorageLevel.DISK_ONLY)
        try:
            yield kept
        finally:
            kept._jdf.queryExecution().logical().rdd().unpersist(False)
        return
    kept = frame.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield kept
    finally:
        kept.unpersist()


def _submitted() -> bool:
    """Whether spark-submit runs this process: then it has started the JVM and read its own settings."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _require_delta(started: SparkSession) -> None:
    try:
        jvm: Any = started._jvm
        jvm.java.lang.Class.forName(
            _DELTA["spark.sql.extensions"], False, jvm.Thread.currentThread().getContextClassLoader()
        )
    except Exception:
        started.stop()
        raise MachineError(
            "Spark does not find Delta Lake's classes",
            where="Spark's class path",
            fix="locally run `make setup`; on a cluster add --packages io.delta:delta-spark_4.2_2.13:4.4.0",
        ) from None


def _end_jvm() -> None:
    """A JVM whose start was given up would wait for its Python for ever."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() == "java":
                child.kill()


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """The JVM inherits standard output and error of this moment: its start-up notes go to a file, not to the user."""
    log.parent.mkdir(mode=0o700, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
