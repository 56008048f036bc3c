"""Live error: what was predicted against what came to be, summed by entity and horizon while the tables stream by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightmill.clock import Clock
from nightmill.lake.tables import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LIVE, NAIVE = "live", "live last_value"
"""What ops.metrics calls the errors of predictions, and those of the value at the origin."""
BEFORE = 14
"""Earlier days that tell what is usual."""
SUMS = ("n", "absolute", "square", "signed", "inside", "with_interval", "naive", "with_naive")


class Codes:
    """Numbers of entities, given in the order in which they appear."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, names: pa.Array | pa.ChunkedArray) -> Ints:
        """[n] the numbers of these entities; new ones get the next."""
        encoded = pc.dictionary_encode(names)
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.unify_dictionaries().combine_chunks()
        table = np.array([self.numbers.setdefault(n, len(self.numbers)) for n in encoded.dictionary.to_pylist()], int)
        return table[encoded.indices.to_numpy(zero_copy_only=False)] if len(table) else np.zeros(0, int)


@dataclass
class Truth:
    """What was true, by entity and step; NaN where it is not known."""

    start: int
    """First step, an even time."""
    clock: Clock
    """The series' own."""
    values: NDArray[np.float32]
    """[entities, steps]"""

    def at(self, entity: Ints, ts: Ints) -> Floats:
        """[n] what was true of entities at times, µs UTC; NaN outside."""
        step = (self.clock.even(ts) - self.start) // self.clock.every
        known = (entity < self.values.shape[0]) & (step >= 0) & (step < self.values.shape[1])
        found = self.values[np.where(known, entity, 0), np.where(known, step, 0)] if self.values.size else np.nan
        return np.where(known, found, np.nan)


@dataclass
class Errors:
    """Sums over predictions whose truth is known, each [entities, horizons]."""

    entities: list[str] = field(default_factory=list)
    horizons: list[int] = field(default_factory=list)
    sums: dict[str, Floats] = field(default_factory=dict)

    def over(self, entities: NDArray[np.bool_] | None = None, horizon: int | None = None) -> Figures:
        """The figures of some entities (all without them) at one horizon (over all without it)."""
        rows = slice(None) if entities is None else entities
        columns = slice(None) if horizon is None else [self.horizons.index(horizon)]
        return Figures(**{name: float(values[rows][:, columns].sum()) for name, values in self.sums.items()})

    def by_entity(self) -> dict[str, float]:
        """Mean absolute error over all horizons of each entity whose truth is known."""
        if not self.entities:
            return {}
        count, absolute = (self.sums[name].sum(axis=1).tolist() for name in ("n", "absolute"))
        return {name: a / n for name, n, a in zip(self.entities, count, absolute, strict=True) if n}


@dataclass(frozen=True)
class Figures:
    """Sums of one part of the predictions, and the figures that they make."""

    n: float = 0.0
    absolute: float = 0.0
    square: float = 0.0
    signed: float = 0.0
    inside: float = 0.0
    with_interval: float = 0.0
    naive: float = 0.0
    with_naive: float = 0.0

    @property
    def mae(self) -> float:
        """Mean absolute error, in the target's unit; NaN without truth."""
        return self.absolute / self.n if self.n else float("nan")

    @property
    def rmse(self) -> float:
        """Root of the mean square error, in the target's unit."""
        return float(np.sqrt(self.square / self.n)) if self.n else float("nan")

    @property
    def bias(self) -> float:
        """Mean of prediction minus truth, in the target's unit."""
        return self.signed / self.n if self.n else float("nan")

    @property
    def coverage(self) -> float:
        """Share of true values between lo and hi."""
        return self.inside / self.with_interval if self.with_interval else float("nan")

    @property
    def naive_mae(self) -> float:
        """Mean absolute error of the value at the origin."""
        return self.naive / self.with_naive if self.with_naive else float("nan")


def usual(errors: Mapping[date, float], day: date) -> float | None:
    """The median of the errors of the last days before this one; None where there are none."""
    before = [errors[one] for one in sorted(errors) if one < day][-BEFORE:]
    return median(before) if before else None


def truth(gold: Table, version: int, codes: Codes, since: int, until: int, clock: Clock) -> Truth:
    """The targets of a gold version in [since, until), µs UTC."""
    first, last = (pa.scalar(moment, pa.timestamp("us", tz="UTC")) for moment in (since, until))
    inside = (pc.field("ts") >= first) & (pc.field("ts") < last)
    source = gold.delta(version).to_pyarrow_dataset().scanner(columns=["entity", "ts", "target"], filter=inside)
    parts = [
        (codes.of(batch["entity"]), clock.even(_micros(batch["ts"])), batch["target"].to_numpy(zero_copy_only=False))
        for batch in source.to_batches()
        if batch.num_rows
    ]
    if not parts:
        return Truth(since, clock, np.zeros((0, 0), np.float32))
    start = min(int(ts.min()) for _, ts, _ in parts)
    steps = (max(int(ts.max()) for _, ts, _ in parts) - start) // clock.every + 1
    values = np.full((len(codes.numbers), steps), np.nan, np.float32)
    for entity, ts, target in parts:
        values[entity, (ts - start) // clock.every] = target
    return Truth(start, clock, values)


def live_errors(predictions: Table, gold: Table, gold_version: int, day: date, clock: Clock) -> Errors:
    """Errors of the predictions that a model made on a day, where truth is known; naive rules do not count.

    Rows pass in batches: memory is that of the truth of the days that they reach, and of one batch.
    """
    codes, spans = Codes(), _span(predictions, day)
    if spans is None:
        return Errors()
    first, last, horizons = spans
    known = truth(gold, gold_version, codes, first, last + 1, clock)
    places = {horizon: place for place, horizon in enumerate(horizons)}
    lookup = np.full(max(horizons) + 1, -1)
    lookup[list(places)] = list(places.values())
    wide = len(horizons)
    sums: dict[str, Floats] = {name: np.zeros(len(codes.numbers) * wide) for name in SUMS}
    columns = ["entity", "ts", "horizon", "target_ts", "value", "lo", "hi"]
    for batch in day_batches(predictions, day, columns, by_model=True):
        entity = codes.of(batch["entity"])
        size = len(codes.numbers) * wide
        if size > len(sums["n"]):
            sums = {name: np.pad(values, (0, size - len(values))) for name, values in sums.items()}
        value, lo, hi = (batch[name].to_numpy(zero_copy_only=False).astype(float) for name in ("value", "lo", "hi"))
        real, naive = known.at(entity, _micros(batch["target_ts"])), known.at(entity, _micros(batch["ts"]))
        group = entity * wide + lookup[batch["horizon"].to_numpy(zero_copy_only=False)]
        error, persistence = value - real, np.abs(naive - real)
        bounded = np.isfinite(real) & np.isfinite(lo) & np.isfinite(hi)
        parts = {
            "n": np.isfinite(error),
            "absolute": np.abs(error),
            "square": error**2,
            "signed": error,
            "inside": bounded & (lo <= real) & (real <= hi),
            "with_interval": bounded,
            "naive": persistence,
            "with_naive": np.isfinite(persistence),
        }
        for name, part in parts.items():
            sums[name] += np.bincount(group, np.nan_to_num(part.astype(float)), minlength=size)
    return Errors(list(codes.numbers), horizons, {name: values.reshape(-1, wide) for name, values in sums.items()})


def _span(predictions: Table, day: date) -> tuple[int, int, list[int]] | None:
    """First and last time that a day's predictions are about or were made at, and their horizons."""
    first = last = None
    horizons: set[int] = set()
    for batch in day_batches(predictions, day, ["ts", "target_ts", "horizon"]):
        low, high = pc.min(batch["ts"]).cast(pa.int64()).as_py(), pc.max(batch["target_ts"]).cast(pa.int64()).as_py()
        first, last = min(low, first or low), max(high, last or high)
        horizons.update(batch["horizon"].unique().to_pylist())
    return None if first is None or last is None else (first, last, sorted(horizons))


def day_batches(
    predictions: Table, days: date | Sequence[date], columns: list[str], *, by_model: bool = False
) -> Iterator[pa.RecordBatch]:
    """The predictions of a day or of several, batch by batch; only those of models where they are asked for."""
    wanted = [day.isoformat() for day in ([days] if isinstance(days, date) else days)]
    source = predictions.delta().to_pyarrow_dataset(partitions=[("day", "in", wanted)])
    # tables that were last written by an older version know no fallback
    chosen = pc.field("fallback").is_null() if by_model and "fallback" in source.schema.names else None
    yield from (batch for batch in source.scanner(columns=columns, filter=chosen).to_batches() if batch.num_rows)


def day_counts(predictions: Table) -> dict[date, tuple[int, int]]:
    """Day -> number of predictions, and of those by a naive rule instead of a model; nothing is read."""
    actions = pa.table(predictions.delta().get_add_actions(flatten=True))
    empty = actions["null_count.fallback"].to_pylist() if "null_count.fallback" in actions.column_names else []
    found: dict[date, tuple[int, int]] = {}
    days, counts = (actions[name].to_pylist() for name in ("partition.day", "num_records"))
    for number, (text, rows) in enumerate(zip(days, counts, strict=True)):
        day = date.fromisoformat(str(text))
        # files of older versions do not say it: all in them is by a model
        by_model = empty[number] if empty and empty[number] is not None else rows
        many, by_rule = found.get(day, (0, 0))
        found[day] = many + (rows or 0), by_rule + (rows or 0) - (by_model or 0)
    return dict(sorted(found.items()))


def _micros(times: pa.Array) -> Ints:
    return np.asarray(times.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy(zero_copy_only=False))
