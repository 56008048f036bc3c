"""Thousands of broken, strange and good records in a few reads: only typed errors, and counts that balance."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from typing import Any

import pytest
from town import FIRST, Town

from nightmill.commands import Outcome, clean, land
from nightmill.errors import NightmillError

pytestmark = pytest.mark.usefixtures("spark")
TARGET = ["data/town/speeds"]
COLUMNS = """
  columns:
    speed: {type: float, unit: km/h, between: [-1000, 1000]}
    count: {type: int, unit: "1"}
    open: {type: bool}
    note: {type: text}
clean:
  max_refused: 100 %
  rules: [{stuck: {of: speed, for: 1 h}}, {relation: {that: speed < 900}}, {monotone: {of: count, then: "null"}}]
"""
CONTRACT = "contract:\n  key: [detector, ts]\n  time: {column: ts, every: 30 min, zone: Europe/BerlinFORM}" + COLUMNS
SOURCES = {
    "csv": 'title: Fuzz\nsource: {format: csv, path: "${raw}/speeds/{day}/*", missing: [NA, "-"]}\n',
    "csv with line breaks": 'title: Fuzz\nsource: {format: csv, line_breaks: true, path: "${raw}/speeds/{day}/*"}\n',
    "json": 'title: Fuzz\nsource: {format: json, path: "${raw}/speeds/{day}/*"}\n',
    "json document": 'title: Fuzz\nsource: {format: json, records: data.items, path: "${raw}/speeds/{day}/*"}\n',
}
NAMES = ("detector", "ts", "speed", "count", "open", "note")
STRANGE = [
    "", " ", "NA", "-", "null", "NaN", "Infinity", "-inf", "1e400", "0x1F", "1_000", "1,5", "١٢", "½", "−3", "true",
    "True", "2026-13-45", "2026-02-30 12:00:00", "0000-00-00", "9999-12-31 23:59:59", "1582-10-10",
    "+292278994-08-17T07:12:55.807Z", "2026-03-29 02:30:00", "2026-10-25 02:30:00", "24:00",
    "2026-03-02T00:30:00+14:00", "2026-03-02 00:30:00 Europe/Paris", "now", "epoch", "9223372036854775808",
    "-9223372036854775809", "1" * 400, "'", '"', '""', '"a', "a\\", "\\N", "\ufeff", "\u202e", "\x00", "\x1a",
    "\x7f", "😀", "e\u0301", "a;b", "a\tb", "=1+1", "{}", "[]", '{"a": 1}', "<b>", "${raw}", "%s",
]  # fmt: skip


def _cell(dice: random.Random, name: str) -> str:
    if dice.random() < 0.15:
        return dice.choice(STRANGE)
    if dice.random() < 0.02:
        return "".join(
            chr(dice.choice([*range(32, 127), *range(160, 0xD7FF), *range(0x1F300, 0x1F6FF)])) for _ in range(9)
        )
    good = {
        "detector": lambda: dice.choice("abcdef"),
        "ts": lambda: (
            f"{FIRST + timedelta(days=dice.randint(-2, 1))} {dice.randint(0, 23):02d}:{dice.choice(['00', '30'])}:00"
        ),
        "speed": lambda: dice.choice(["50", "51.5", "-7", "2e2", "950", " 3 "]),
        "count": lambda: str(dice.randint(0, 500)),
        "open": lambda: dice.choice(["true", "false", "1", "0"]),
        "note": lambda: dice.choice(["wet", 'says ""no""', "a, b", ""]),
    }
    return good[name]()


def _csv(dice: random.Random, lines: int) -> bytes:
    names = list(NAMES)
    if dice.random() < 0.3:
        dice.shuffle(names)
    if dice.random() < 0.05:
        names.remove(dice.choice(names))
    text = [",".join(names)]
    for _ in range(lines):
        cells = [_cell(dice, name) for name in names]
        cells = [f'"{cell}"' if dice.random() < 0.3 or "," in cell else cell for cell in cells]
        if dice.random() < 0.05:
            cells = cells[: dice.randint(0, 5)] if dice.random() < 0.5 else [*cells, *cells]
        text.append(",".join(cells))
    end = dice.choice(["\n", "\n", "\r\n"])
    content = end.join(text).encode("utf-8", "surrogatepass")
    return content + (end.encode() if dice.random() < 0.8 else b"")


def _record(dice: random.Random) -> Any:
    if dice.random() < 0.04:
        return dice.choice([1, None, "text", [], [1, 2], True, {}, {"detector": {"a": 1}}])
    record: dict[str, Any] = {name: _cell(dice, name) for name in NAMES if dice.random() < 0.95}
    for name in list(record):
        if dice.random() < 0.2:
            record[name] = dice.choice([1, 1.5, -0.0, None, True, [1], {"deep": [{}]}, 1e308, 10**30])
    return record


def _json(dice: random.Random, lines: int, *, document: bool) -> bytes:
    records = [_record(dice) for _ in range(lines)]
    if document:
        return json.dumps({"data": {"items": records}} if dice.random() < 0.9 else {"data": records}).encode()
    text = [json.dumps(record, ensure_ascii=dice.random() < 0.5) for record in records]
    text = [line[: dice.randint(0, len(line))] if dice.random() < 0.03 else line for line in text]
    return "\n".join(text).encode("utf-8", "replace")


def _bytes(dice: random.Random) -> bytes:
    found = bytearray(dice.randbytes(dice.randint(0, 300)))
    if dice.random() < 0.5:
        found[:0] = ",".join(NAMES).encode() + b"\n"
    return bytes(found)


def _outcomes(town: Town, contract: str) -> tuple[Any, Any]:
    """What landing and cleaning returned; any error that is not of Nightmill's own fails the test."""
    (town.folder / "conf/data/town/speeds.yaml").write_text(contract)
    found: list[Outcome] = [land(town.work("land", FIRST), TARGET)]
    if not found[0].failures:
        found.append(clean(town.work("clean"), TARGET))
    for outcome in found:
        for error in outcome.failures.values():
            assert isinstance(error, NightmillError)
            raise error
    return found[0].results[TARGET[0]], found[1].results[TARGET[0]]


def _balanced(town: Town, files: int, contract: str) -> Any:
    landed, cleaned = _outcomes(town, contract)
    total = cleaned.total()
    assert landed.files + len(landed.refused) + landed.known == files
    assert total.parsed == town.table("bronze").num_rows
    assert total.accepted == town.table("silver").num_rows
    kept = [row for row in town.rows("quarantine") if row["stage"] == "clean"]
    assert sum(total.refused.values()) == len(kept) and all(row["reason"] and row["rule"] for row in kept)
    assert total.parsed == total.accepted + sum(total.refused.values()) + total.duplicates
    assert min(total.accepted, sum(total.refused.values()), total.duplicates) > 10, "all ways were gone"
    return total


@pytest.mark.parametrize(
    "source", [pytest.param(s, marks=[] if s in ("csv", "json") else pytest.mark.slow) for s in SOURCES]
)
def test_any_file_lands_or_is_refused_and_every_record_is_accounted_for(town: Town, source: str) -> None:
    dice = random.Random(source)
    folder = town.raw / "speeds" / FIRST.isoformat()
    folder.mkdir(parents=True)
    for number in range(40):
        if number % 4 == 3:
            content = _bytes(dice)
        elif source.startswith("csv"):
            content = _csv(dice, 70)
        else:
            content = _json(dice, 70, document=source == "json document")
        (folder / f"{number:02d}.txt").write_bytes(content)
    empty = sum(1 for file in folder.iterdir() if not file.read_bytes().strip())
    total = _balanced(town, 40 - empty, SOURCES[source] + CONTRACT.replace("FORM", ""))
    assert total.parsed > 1500


FORMATS = [
    "",
    ', format: "yyyy-MM-dd HH:mm:ss"',
    ', format: "dd.MM.yyyy HH:mm"',
    ", stamp: end",
    ', format: "M/d/yy h:mm a"',
]


@pytest.mark.parametrize("form", FORMATS)
def test_any_text_is_a_time_or_is_refused(town: Town, form: str) -> None:
    dice = random.Random(form)
    pieces = [
        "2026-03-02",
        "02.03.2026",
        "3/2/26",
        "2026-3-2",
        "T",
        " ",
        "12:30:00",
        "12:30",
        "1:30 PM",
        "Z",
        "+01:00",
        ".123456789",
    ]
    pieces += [*STRANGE, "2026", "W10", "-", "/", ".", "62"]
    moment = date(2026, 3, 2)
    lines = []
    for number in range(1200):
        text = "".join(dice.choice(pieces) for _ in range(dice.randint(1, 4))).replace('"', "").replace("\x00", "")
        if number % 3 == 0:
            text = dice.choice([f"{moment} {number % 24:02d}:00:00", "02.03.2026 10:30", "3/2/26 1:30 PM"])
        lines.append(f'a{number % 7},"{text}",5,1,true,x')
    town.drop(FIRST, lines, header=",".join(NAMES))
    landed, cleaned = _outcomes(town, SOURCES["csv"] + CONTRACT.replace("FORM", form))
    total = cleaned.total()
    assert (
        total.parsed == total.accepted + sum(total.refused.values()) + total.duplicates == town.table("bronze").num_rows
    )
    assert landed.records == 1200 and total.refused["time"] > 300 and total.accepted + total.duplicates > 10
