"""Job-shop instances in the text form of the OR-Library (Beasley 1990)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from nightmill.config.source import JobShop
from nightmill.ingest.parsers.numbers import whole_numbers

COLUMNS = pa.schema(
    [(name, pa.int64()) for name in ("job", "step", "machine", "duration", "jobs", "machines")],
)


def parse(name: str, content: bytes, options: JobShop) -> Iterator[dict[str, Any]]:
    """One record per operation: job and step count from 1, machines from 0, durations in the instance's own unit."""
    lines = whole_numbers(content)
    if not lines or len(lines[0]) != 2:
        raise ValueError("not a job-shop instance: the first line is not the numbers of jobs and machines")
    (jobs, machines), rows = lines[0], lines[1:]
    if len(rows) != jobs:
        raise ValueError(f"the first line says {jobs} jobs, and there are {len(rows)}")
    for job, row in enumerate(rows, start=1):
        if len(row) != 2 * machines:
            raise ValueError(f"job {job} has {len(row)} numbers, not a machine and a duration for {machines} steps")
        if sorted(row[::2]) != list(range(machines)):
            raise ValueError(f"job {job} does not visit each of the {machines} machines once")
        for step, (machine, duration) in enumerate(zip(row[::2], row[1::2]), start=1):
            operation = {"job": job, "step": step, "machine": machine, "duration": duration}
            yield operation | {"jobs": jobs, "machines": machines}
