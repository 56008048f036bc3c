"""Where a prediction came from: model, gold, silver, bronze and files, as the tables themselves tell it."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError

from nightmill.config import DataSet, UseCase
from nightmill.errors import DataRefused, NightmillError
from nightmill.lake.entities import JOINED
from nightmill.lake.ops import events
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake, Layer, Table


@dataclass
class Origin:
    """One version of a table, and the run that wrote it."""

    table: str
    version: int
    run: str = ""
    written_at: datetime | None = None
    gone: bool = False
    """Whether this version can no longer be read."""
    files: dict[str, int] = field(default_factory=dict)
    """Raw file -> rows of the prediction's own series and window that came from it (of a table without time: all)."""
    inputs: list[Origin] = field(default_factory=list)


@dataclass
class ModelOrigin:
    """The model that predicted."""

    version: int
    run: str = ""
    gold_version: int | None = None
    seen_until: datetime | None = None
    """Time of the last row that shaped its weights or its interval."""
    promoted_at: datetime | None = None
    reason: str = ""
    gone: str = ""
    """Why the model can no longer be read; empty where it can."""


@dataclass
class Explained:
    """Where the predictions of one entity for one day came from."""

    use_case: str
    entity: str
    day: date
    origin: datetime
    """Time of the last row that the model was given."""
    target: str
    unit: str
    values: list[dict[str, Any]]
    """horizon, target_ts, value, lo and hi of each predicted step."""
    run: str
    scored_at: datetime
    hindsight: bool
    model: ModelOrigin
    gold: Origin


def explain(
    lake: Lake, registry: Registry, use_case: UseCase, inputs: dict[str, DataSet], entity: str, day: date | None
) -> Explained:
    """The last predictions of an entity for a day (the last one without it), and all that they rest on.

    Raises DataRefused where there is no such prediction, naming the nearest entity or the days that there are.
    """
    rows = _predictions(lake.table("predictions", use_case.name), use_case.name, entity, day)
    first = rows[0]
    model = _model(lake, registry, use_case.name, int(first["model_version"]))
    gold = _origin(lake.table("gold", use_case.name), int(first["feature_version"]))
    series = inputs[next(iter(use_case.inputs))]
    begin = first["ts"] - (_lookback(registry, use_case.name, model) - 1) * _step(series)
    for silver in gold.inputs:
        one = next((d for d in inputs.values() if f"silver/{d.name}" == silver.table), None)
        if one is not None and not silver.gone:
            own = one.name == series.name
            silver.files = _files(lake, silver, one, (entity, begin, first["ts"]) if own else None)
    shown = ("horizon", "target_ts", "value", "lo", "hi", "label", "score", "fallback")
    return Explained(
        use_case=use_case.name,
        entity=entity,
        day=first["day"],
        origin=first["ts"],
        target=str(first["target"]),
        unit=_unit(series, use_case.target.column),
        values=[{name: row[name] for name in shown if row.get(name) is not None} for row in rows],
        run=str(first["run_id"]),
        scored_at=first["scored_at"],
        hindsight=bool(first["hindsight"]),
        model=model,
        gold=gold,
    )


def _unit(series: DataSet, column: str | None) -> str:
    unit = series.contract.column(column).unit or "" if column else "steps"
    return "" if unit == "1" else unit


def _lookback(registry: Registry, use_case: str, model: ModelOrigin) -> int:
    """Rows that the model is given; 1 where it can no longer be read."""
    if model.gone:
        return 1
    return int(json.loads(registry.load(use_case, model.version)["model.json"])["shape"]["lookback"])


def _predictions(table: Table, name: str, entity: str, day: date | None) -> list[dict[str, Any]]:
    """Rows of the entity's last origin of the day, by horizon."""
    days = table.days_by_partition() if table.exists() else set()
    if not days:
        raise DataRefused(f"{name} has no predictions yet", where=table.uri, fix="run `nightmill score` first")
    wanted = day or max(days)
    if wanted not in days:
        known = f"there are some from {min(days)} to {max(days)}"
        raise DataRefused(f"{name} has no predictions for {wanted}", where=table.uri, fix=known)
    source = table.delta().to_pyarrow_dataset()
    rows = source.to_table(filter=(pc.field("day") == wanted) & (pc.field("entity") == entity)).to_pylist()
    if not rows:
        known_ones = (
            source.to_table(columns=["entity"], filter=pc.field("day") == wanted)["entity"].unique().to_pylist()
        )
        near = difflib.get_close_matches(entity, sorted(known_ones), 1, 0.5)
        fix = f"did you mean '{near[0]}'?" if near else f"as '{min(known_ones)}'; there are {len(known_ones):,}"
        raise DataRefused(f"{name} has no prediction for '{entity}' on {wanted}", where="--entity", fix=fix)
    last = max(row["ts"] for row in rows)
    return sorted((row for row in rows if row["ts"] == last), key=lambda row: row["horizon"])


def _model(lake: Lake, registry: Registry, use_case: str, version: int) -> ModelOrigin:
    found = ModelOrigin(version)
    for row in events(lake, "promotions", subject=use_case, model_version=version):
        found.promoted_at, found.reason = row["at"], row["reason"]
    try:
        found.run = registry.trained_by(use_case, version)
        gold = json.loads(registry.load(use_case, version)["model.json"])["gold"]
    except NightmillError as error:
        found.gone = error.what
        return found
    found.gold_version = int(gold["version"])
    if gold.get("until"):
        found.seen_until = datetime.fromtimestamp(gold["until"] / 1_000_000, UTC)
    return found


def _origin(table: Table, version: int) -> Origin:
    """A version of a table with those that it was made of, down to bronze."""
    found = Origin(table.label, version)
    try:
        commits = table.delta().history()
        table.delta(version)
    except (NightmillError, DeltaError):
        found.gone = True
        return found
    commit = next((c for c in commits if c["version"] <= version and c.get("userMetadata")), None)
    if commit is None:
        return found
    note = json.loads(commit["userMetadata"])
    found.run = str(note.get("run", ""))
    found.written_at = datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)
    for label, pinned in sorted(note.get("inputs", {}).items()):
        layer, _, name = label.partition("/")
        found.inputs.append(_origin(table.lake.table(_layer(layer), name), int(pinned)))
    return found


def _layer(name: str) -> Layer:
    return name  # type: ignore[return-value]


def _files(
    lake: Lake, silver: Origin, data_set: DataSet, window: tuple[str, datetime, datetime] | None
) -> dict[str, int]:
    """Raw files of the rows of a series between two times; of the whole table without these."""
    source = lake.table("silver", data_set.name).delta(silver.version).to_pyarrow_dataset()
    if window is None:
        rows = source.to_table(columns=["_file"])
    else:
        entity, begin, end = window
        keys, inside = data_set.contract.entity, (pc.field("ts") >= begin) & (pc.field("ts") <= end)
        rows = source.to_table(columns=["_file", *keys], filter=inside)
        named = pc.binary_join_element_wise(*(pc.cast(rows[key], pa.string()) for key in keys), JOINED)
        rows = rows.filter(pc.equal(named, entity))
    counted = rows["_file"].value_counts().to_pylist()
    return {str(c["values"] or "filled in"): c["counts"] for c in sorted(counted, key=lambda c: str(c["values"]))}


def _step(data_set: DataSet) -> timedelta:
    every = data_set.clock.every
    return every if isinstance(every, timedelta) else timedelta(days=31 * every.count)
