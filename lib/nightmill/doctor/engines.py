"""Python, Java, Spark with Delta, torch, GPU and Ray."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from nightmill.config import Environment
from nightmill.doctor.check import Check
from nightmill.java import require_java

OLDEST_PYTHON = (3, 11)


def python() -> Check:
    """The interpreter's version."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", "fail", found, "run `make setup` with Python 3.11 or newer")
    return Check("Python", "ok", found)


def java() -> Check:
    """The Java that Spark would start."""
    found = require_java()
    return Check("Java", "ok", f"{found.version} at {found.path}")


def spark(environment: Environment) -> Check:
    """The installed pyspark and whether Delta's jars and settings are in it."""
    from nightmill import jars

    home = jars.installed()
    found = f"{home.spark_version} with Delta {home.delta_version}"
    other = os.environ.get("SPARK_HOME")
    if other and Path(other).resolve() != home.folder.resolve():
        fix = "unset SPARK_HOME, unless that Spark has Delta's jars"
        return Check("Spark", "warn", f"SPARK_HOME is {other}, so that Spark is used, not the installed {found}", fix)
    lacking = jars.missing(home)
    if not lacking:
        return Check("Spark", "ok", found)
    shown = f"{found}, but without {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}"
    if environment.spark.master is None:
        return Check("Spark", "warn", shown, f"pass --packages {home.coordinate} to spark-submit")
    return Check("Spark", "fail", shown, "run `make setup`")


def torch() -> Check:
    """Whether torch can be imported and computes."""
    import torch

    if float(torch.ones(2, 2).matmul(torch.ones(2, 1)).sum()) != 4.0:
        return Check("torch", "fail", f"{torch.__version__} computes wrongly", "run `make clean-all setup`")
    return Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def gpu(environment: Environment) -> Check:
    """Names of the CUDA devices and whether they know bfloat16. None is fine, unless the environment wants them."""
    import torch

    if not torch.cuda.is_available():
        if environment.ray.gpus:
            return Check(
                "GPU", "fail", "ray.gpus is true, but torch sees no GPU", "install its driver, or leave ray.gpus out"
            )
        return Check("GPU", "ok", "none; training and scoring use the processors")
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    half = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
    return Check("GPU", "ok", f"{', '.join(names)} ({half})")


def ray() -> Check:
    """Whether Ray can be imported."""
    import ray

    return Check("Ray", "ok", str(ray.__version__))
