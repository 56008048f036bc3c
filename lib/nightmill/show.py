"""What a data set's tables hold: rows, days, gaps, refusals, freshness. Read from the tables, without Spark."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from nightmill.config import DataSet, Time
from nightmill.config.values import DATA, Months
from nightmill.lake.ops import last_records
from nightmill.lake.tables import Lake, Table


@dataclass
class Series:
    """How complete a table's series are, from each entity's first row to its last."""

    rows: int = 0
    entities: int = 0
    first: datetime | None = None
    last: datetime | None = None
    missing: int = 0
    """Steps without a row."""
    filled: int = 0
    """Rows that stand in gaps."""
    regular: bool = True
    """Whether most steps have a row; events do not come in steps."""
    days: int = 0


@dataclass
class Described:
    """What is known of one data set."""

    data_set: str
    title: str
    bronze: int | None = None
    """Raw records; None where nothing has landed."""
    files: int = 0
    landed_at: datetime | None = None
    silver: Series | None = None
    cleaned_at: datetime | None = None
    fates: dict[str, int] = field(default_factory=dict)
    """parsed, accepted, duplicate, `refused RULE`, `changed WHAT` -> records, as each day was last cleaned."""
    waiting: int = 0
    """Records in quarantine."""
    unread: list[tuple[str, str]] = field(default_factory=list)
    """Files in quarantine and why."""
    worst: list[tuple[date, int, str]] = field(default_factory=list)
    """Days with most refused records, their number and the first rule."""


def describe(lake: Lake, data_set: DataSet) -> Described:
    """Reads the tables of one data set."""
    found = Described(data_set.name, data_set.title)
    bronze, silver = lake.table("bronze", data_set.name), lake.table("silver", data_set.name)
    if bronze.exists():
        files: set[str] = set()
        found.bronze = 0
        for batch in bronze.delta().to_pyarrow_dataset().scanner(columns=["_file"]).to_batches():
            found.bronze += batch.num_rows
            files.update(batch.column(0).unique().to_pylist())
        found.files, found.landed_at = len(files), _written_at(bronze)
    if silver.exists():
        found.silver, found.cleaned_at = series_of(silver, data_set), _written_at(silver)
    found.fates, found.worst = _fates(lake, data_set)
    quarantine = lake.table("quarantine", data_set.name)
    if quarantine.exists():
        refused = quarantine.delta().to_pyarrow_table(columns=["stage", "_file", "reason"])
        whole = refused.filter(pc.field("stage") == "land")
        found.unread = list(zip(whole["_file"].to_pylist(), whole["reason"].to_pylist()))
        found.waiting = refused.filter(pc.field("stage") == "clean").num_rows
    return found


def series_of(silver: Table, data_set: DataSet) -> Series:
    """Counts a silver table batch by batch."""
    time, entity = data_set.contract.time, data_set.contract.entity
    source = silver.delta().to_pyarrow_dataset()
    if time is None:
        rows = source.count_rows()
        return Series(rows, rows, days=1 if rows else 0)
    found, days, filled = None, set(), 0
    for batch in source.scanner(columns=[*entity, "ts", "day", "_filled"]).to_batches():
        days.update(batch.column("day").unique().to_pylist())
        filled += pc.sum(batch.column("_filled")).as_py() or 0
        part = (
            pa.Table.from_batches([batch]).group_by(entity).aggregate([("ts", "min"), ("ts", "max"), ("ts", "count")])
        )
        found = part if found is None else pa.concat_tables([found, part])
    if found is None or not found.num_rows:
        return Series()
    whole = found.group_by(entity).aggregate([("ts_min", "min"), ("ts_max", "max"), ("ts_count", "sum")])
    spans = zip(*(whole[name].to_pylist() for name in ("ts_min_min", "ts_max_max", "ts_count_sum")))
    expected = {}
    for number, (first, last, count) in enumerate(spans):
        expected[number] = (first, last, count, max(count, _steps(time, first, last)))
    rows = sum(count for _, _, count, _ in expected.values())
    steps = sum(n for *_, n in expected.values())
    first, last = min(e[0] for e in expected.values()), max(e[1] for e in expected.values())
    regular = rows * 2 >= steps
    return Series(rows, whole.num_rows, first, last, steps - rows if regular else 0, filled, regular, len(days))


def _steps(time: Time, first: datetime, last: datetime) -> int:
    """Steps from one time to another, both included, without days on which none are made."""
    if isinstance(time.every, Months):
        return ((last.year - first.year) * 12 + last.month - first.month) // time.every.count + 1
    steps = (last - first) // time.every + 1
    if time.days == "weekdays":
        days = [first.date() + timedelta(days=n) for n in range((last.date() - first.date()).days + 1)]
        steps -= sum(day.weekday() >= 5 for day in days) * (timedelta(days=1) // time.every)
    return max(0, steps)


def _written_at(table: Table) -> datetime | None:
    newest = table.delta().history(limit=1)
    return datetime.fromtimestamp(newest[0]["timestamp"] / 1000, UTC) if newest else None


def _fates(lake: Lake, data_set: DataSet) -> tuple[dict[str, int], list[tuple[date, int, str]]]:
    """Records by fate, each day as its last cleaning counted it."""
    fates: dict[str, int] = {}
    refused: dict[date, dict[str, int]] = {}
    for row in last_records(lake, f"{DATA}{data_set.name}"):
        name = f"{row['fate']} {row['rule']}".strip()
        fates[name] = fates.get(name, 0) + row["records"]
        if row["fate"] == "refused":
            rules = refused.setdefault(row["day"], {})
            rules[row["rule"]] = rules.get(row["rule"], 0) + row["records"]
    worst = sorted(((day, sum(rules.values()), max(rules, key=rules.__getitem__)) for day, rules in refused.items()))
    return fates, sorted(worst, key=lambda item: -item[1])[:5]
