"""What one Spark task does: read its slice with the hand-off, predict, write Parquet. No row passes the JVM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from nightmill.handoff import Batches, Index, Pinned, Plan, Samples
from nightmill.score.table import FILE_SCHEMA, Part, Statistics, part_path

BATCH = 4096


@dataclass(frozen=True)
class Assignment:
    """What all slices of one scoring have in common; sent to the workers once."""

    gold: Pinned
    index: Index
    model: dict[str, bytes]
    model_key: str
    table_uri: str
    day: date
    zone: str
    run_id: str
    scored_at: datetime
    model_version: int
    hindsight: bool


@lru_cache(maxsize=4)
def _bundle(key: str, files: tuple[tuple[str, bytes], ...]) -> Any:
    """The model, loaded once per Python worker and kept for its later tasks."""
    import torch

    from nightmill.models.bundle import Bundle

    torch.set_num_threads(1)  # Spark runs one task per core already
    return Bundle.from_files(dict(files), key)


def score_slice(assignment: Assignment, number: int, samples: Samples) -> Part:
    """Predicts one slice and writes it; the file is not part of the table until the driver commits it."""
    bundle = _bundle(assignment.model_key, tuple(sorted(assignment.model.items())))
    codes = bundle.codes(assignment.index.entities)
    plan = Plan(samples, min(BATCH, max(samples.count, 1)), seed=0, shuffle=False)
    batches = Batches(assignment.gold, assignment.index, plan, features=bundle.shape.features, target=None)
    path, statistics = part_path(assignment.day, assignment.run_id, number), Statistics()
    filesystem, place = _target(f"{assignment.table_uri}/{path}")
    with pq.ParquetWriter(place, FILE_SCHEMA, filesystem=filesystem, compression="zstd") as writer:
        for batch in batches.epoch(0):
            table = _rows(assignment, bundle, batch, *bundle.predict(batch, codes))
            statistics.add(table)
            writer.write_table(table)
    size = filesystem.get_file_info(place).size
    return Part(path, int(size), statistics.rows, statistics.to_json())


def score_slices(assignment: Assignment, slices: Iterable[tuple[int, Samples]]) -> Iterator[Part]:
    """All slices of one Spark partition."""
    for number, samples in slices:
        yield score_slice(assignment, number, samples)


def _rows(assignment: Assignment, bundle: Any, batch: Any, value: Any, lo: Any, hi: Any) -> pa.Table:
    """Tidy rows (entity, ts, horizon): steps of an origin stand together."""
    real = (batch.weight > 0).numpy()
    steps, every = bundle.shape.steps, assignment.index.every_us
    horizon = np.arange(1, steps + 1) if bundle.shape.horizon else np.zeros(1, np.int64)
    ts = batch.ts.numpy()[real]
    names = pa.array(assignment.index.entities, pa.string())
    entity = pa.DictionaryArray.from_arrays(pa.array(np.repeat(batch.entity.numpy()[real], steps)), names)
    count = len(ts) * steps
    known: dict[str, Any] = {
        "entity": entity.cast(pa.string()),
        "ts": np.repeat(ts, steps),
        "horizon": np.tile(horizon, len(ts)),
        "target_ts": (ts[:, None] + horizon * every).ravel(),
        "value": value[real].ravel(),
        "lo": lo[real].ravel(),
        "hi": hi[real].ravel(),
    }
    constants: dict[str, Any] = {
        "target": bundle.target,
        "label": None,
        "score": None,
        "model_version": assignment.model_version,
        "feature_version": assignment.gold.version,
        "run_id": assignment.run_id,
        "scored_at": assignment.scored_at,
        "hindsight": assignment.hindsight,
    }
    arrays = []
    for field in FILE_SCHEMA:
        if field.name in known:
            found = known[field.name]
            arrays.append(pa.array(found).cast(field.type) if isinstance(found, np.ndarray) else found)
        else:
            arrays.append(pa.repeat(pa.scalar(constants[field.name], field.type), count))
    return pa.Table.from_arrays(arrays, schema=FILE_SCHEMA)


def _target(uri: str) -> tuple[pafs.FileSystem, str]:
    if "://" in uri:
        filesystem, place = pafs.FileSystem.from_uri(uri)
        return filesystem, place
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    return pafs.LocalFileSystem(), uri
