"""A Spark standalone cluster on this machine: a master and a worker, each a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyspark


@dataclass
class Cluster:
    """What a driver and a test need to know of it."""

    master: str
    processes: list[subprocess.Popen[bytes]]

    def executors(self) -> list[psutil.Process]:
        """The JVMs that run tasks."""
        found = []
        for process in self.processes:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if any("CoarseGrainedExecutorBackend" in part for part in child.cmdline()):
                        found.append(child)
        return found


@contextmanager
def standalone(folder: Path, cores: int = 2) -> Iterator[Cluster]:
    """Starts them, and ends them with all that they started."""
    port, home = _free_port(), Path(pyspark.__file__).parent
    master = f"spark://127.0.0.1:{port}"
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOG_DIR": str(folder),
        "SPARK_WORKER_DIR": str(folder / "work"),
    }
    of = "org.apache.spark.deploy"
    commands = [
        [f"{of}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"],
        [f"{of}.worker.Worker", "--cores", str(cores), "--memory", "2g", "--webui-port", "0", master],
    ]
    processes = []
    try:
        for number, command in enumerate(commands):
            with (folder / f"spark-{number}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [str(home / "bin" / "spark-class"), *command],
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
            _wait_for(port)
        yield Cluster(master, processes)
    finally:
        for process in reversed(processes):
            for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                with suppress(psutil.Error):
                    one.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"nothing answers on port {port}")
        time.sleep(0.2)
