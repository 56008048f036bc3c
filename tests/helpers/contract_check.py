"""What a data set's YAML refuses in raw files, told with plain Python: an oracle that is none of the stages."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import yaml

MALFORMED = "malformed"
_UNITS = {"min": 60, "h": 3600, "d": 86400}


@dataclass
class Found:
    """What was found in the files of one data set, by kind of dirt: (entity, time) of each, as far as they are told."""

    refused: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    replaced: list[tuple[str, str]] = field(default_factory=list)
    """Keys that a later drop has again."""
    missing: set[tuple[str, str]] = field(default_factory=set)
    """Steps that other entities have, on days of the drops."""
    before: set[tuple[str, str]] = field(default_factory=set)
    """Keys of the day before their drop that no earlier drop had."""
    rows: int = 0


def check(conf: Path, raw: Path, name: str, files: dict[date, str], entity: str, known: set[str]) -> Found:
    """Reads each day's file and applies the contract and the rules of conf/data/NAME.yaml to what it finds."""
    document = yaml.safe_load((conf / "data" / f"{name}.yaml").read_text())
    columns, rules = document["contract"]["columns"], document.get("clean", {}).get("rules", [])
    zone = ZoneInfo(document["contract"]["time"].get("zone", "UTC"))
    found, kept = Found(), {}
    for day, file in files.items():
        today: set[tuple[str, datetime]] = set()
        for record in _records(raw / name / day.isoformat() / file, document["source"]):
            found.rows += 1
            if record is None:
                found.refused[MALFORMED].append(("", ""))
                continue
            ts = _time(record, document["contract"]["time"])
            key = (record[entity], ts)
            told = (record[entity], "" if ts is None else _iso(ts))
            if kind := _broken(record, ts, day, zone, columns, rules, known):
                found.refused[kind].append(told)
                if kind not in ("bad_time", "future_time", "unknown_entity", "bad_code"):
                    today.add(key)
                continue
            if key in today:
                found.duplicates.append(told)
            elif key in kept:
                found.replaced.append(told)
            elif ts.astimezone(zone).date() < day:
                found.before.add(told)
            today.add(key)
            kept[key] = record
        kept |= {key: None for key in today if key not in kept}
    _sequences(found, kept, rules, zone)
    steps = {ts for _, ts in kept if ts.astimezone(zone).date() in files}
    found.missing = {(e, _iso(ts)) for e in {e for e, _ in kept} for ts in steps if (e, ts) not in kept}
    return found


def _records(file: Path, source: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
    if source["format"] == "parquet":
        yield from pq.read_table(file, partitioning=None).to_pylist()
        return
    text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
    if source["format"] == "json":
        for line in text.splitlines():
            try:
                yield _flat(json.loads(line))
            except json.JSONDecodeError:
                yield None
        return
    lines = csv.reader(text.splitlines(), delimiter=source.get("separator", ","))
    header = next(lines)
    for fields in lines:
        if len(fields) != len(header):
            yield None
        elif wide := source.get("wide"):
            for name, value in zip(header[1:], fields[1:]):
                yield {header[0]: fields[0], wide["entity"]: name, wide["value"]: value}
        else:
            yield dict(zip(header, fields))


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else {prefix + name: item}
    return flat


def _time(record: dict[str, Any], time: dict[str, Any]) -> datetime | None:
    value = record.get(time["column"])
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    form = time.get("format", "").replace("yyyy-MM-dd", "%Y-%m-%d").replace("dd.MM.yyyy", "%d.%m.%Y")
    form = form.replace("HH:mm", "%H:%M").replace(":ss", ":%S")
    try:
        if parts := time.get("parts"):
            local = datetime.fromisoformat(record[parts["date"]]) + timedelta(hours=int(record[parts["hour"]]))
        else:
            local = datetime.strptime(value, form) if form else datetime.fromisoformat(value)
    except ValueError:
        return None
    utc = (local if local.tzinfo else local.replace(tzinfo=ZoneInfo(time.get("zone", "UTC")))).astimezone(UTC)
    return utc - _seconds(time["every"]) if time.get("stamp") == "end" else utc


def _broken(record, ts, day, zone, columns, rules, known) -> str | None:
    """The kind of dirt of the first rule that a record breaks."""
    if ts is None:
        return "bad_time"
    if ts.astimezone(zone).date() > day + timedelta(days=1):
        return "future_time"
    numbers = {}
    for name, column in columns.items():
        value = record.get(column.get("from", name))
        if value is None or value == "":
            if column.get("required"):
                return "missing_value"
            continue
        if column.get("type", "float") in ("float", "int"):
            try:
                numbers[name] = float(value)
            except ValueError:
                return "not_a_number"
            low, high = column.get("between", (-math.inf, math.inf))
            if not float(low) <= numbers[name] <= float(high):
                return "out_of_range"
        if "one_of" in column and value not in column["one_of"]:
            return "bad_category"
        if "matches" in column and not re.search(column["matches"], value):
            return "bad_code"
    for rule in rules:
        if "known" in rule and record[rule["known"]["of"]] not in known:
            return "unknown_entity"
        if "relation" in rule and not eval(rule["relation"]["that"].replace(" = ", " == "), {}, numbers):
            return "broken_relation"
    return None


def _sequences(found: Found, kept: dict[Any, Any], rules: list[dict[str, Any]], zone: ZoneInfo) -> None:
    series = defaultdict(list)
    for (entity, ts), record in sorted(kept.items(), key=lambda item: item[0]):
        if record is not None:
            series[entity, ts.astimezone(zone).date()].append((ts, record))
    for rule in rules:
        for (entity, _), rows in series.items():
            for kind, test in (("stuck", _stuck), ("spike", _spiky), ("monotone", _back)):
                if kind in rule:
                    values = [(ts, float(record[rule[kind]["of"]])) for ts, record in rows]
                    named = "counter_back" if kind == "monotone" else kind
                    found.refused[named] += [(entity, _iso(ts)) for ts in test(values, rule[kind])]


def _stuck(values, rule) -> Iterator[datetime]:
    run: list[datetime] = []
    for position, (ts, value) in enumerate(values):
        run = [*run, ts] if position and value == values[position - 1][1] else [ts]
        last = position + 1 == len(values) or values[position + 1][1] != value
        if last and run[-1] - run[0] >= _seconds(rule["for"]):
            yield from run


def _spiky(values, rule) -> Iterator[datetime]:
    for (_, before), (ts, value), (_, after) in zip(values, values[1:], values[2:]):
        if min(value - before, value - after) > rule["by"] or max(value - before, value - after) < -rule["by"]:
            yield ts


def _back(values, rule) -> Iterator[datetime]:
    for (_, before), (ts, value), (_, after) in zip(values, values[1:], values[2:]):
        if value < before <= after:
            yield ts


def _seconds(text: str) -> timedelta:
    number, unit = text.split()
    return timedelta(seconds=float(number) * _UNITS[unit])


def _iso(ts: datetime) -> str:
    return ts.strftime("%Y-%m-%dT%H:%M:%SZ")


def planted(raw: Path, name: str) -> dict[str, Counter]:
    """Cases of the truth tables by kind: how often each (entity, time) is named."""
    found: dict[str, Counter] = defaultdict(Counter)
    for file in sorted(raw.glob("truth/*/dirt.csv")):
        for row in csv.DictReader(file.read_text().splitlines()):
            if row["data_set"] == name:
                found[row["kind"]][row["entity"], row["ts"]] += 1
    return found
