"""All checks in the order in which the work needs what they look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nightmill.config import Configuration
from nightmill.doctor import engines, machine, places
from nightmill.doctor.check import Check
from nightmill.errors import NightmillError


def examine(configuration: Configuration) -> list[Check]:
    """Looks at engines, machine, lake and raw folder; never raises: what cannot be looked at is a failed check.

    Takes some seconds, because torch and Ray are imported to see that they can be. Leaves nothing behind.
    """
    return [_looked_at(name, look) for name, look in _checks(configuration)]


def _checks(configuration: Configuration) -> Iterator[tuple[str, Callable[[], Check]]]:
    environment = configuration.environment
    yield "Python", engines.python
    yield "Java", engines.java
    yield "Spark", lambda: engines.spark(environment)
    yield "torch", engines.torch
    yield "GPU", lambda: engines.gpu(environment)
    yield "Ray", engines.ray
    yield "processors", machine.processors
    yield "memory", machine.memory
    yield "shared memory", machine.shared_memory
    yield "temporary files", machine.temporary_files
    yield "loopback ports", machine.loopback_ports
    yield "host name", machine.host_name
    yield "lake", lambda: places.lake(environment)
    yield "lake's disk", lambda: places.lake_disk(environment)
    yield "raw drops", lambda: places.raw(environment)
    yield "models", lambda: places.models(environment)
    yield "alarms", lambda: places.alarms(environment)


def _looked_at(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except NightmillError as error:
        return Check(name, "fail", error.what, error.fix)
    except Exception as error:  # a doctor that falls ill helps nobody
        return Check(name, "fail", f"{type(error).__name__}: {error}")
