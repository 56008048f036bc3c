"""Tables of a real PostgreSQL land like files: `make test-jdbc`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from postgres import PASSWORD, USER, Postgres, server

pytestmark = pytest.mark.jdbc
DRIVER = "org.postgresql:postgresql:42.7.8"
READINGS = """
title: Readings of presses
source:
  format: jdbc
  table: readings
  where: "at >= DATE '{day}' AND at < DATE '{day}' + 1"
  jdbc: {url: "URL", login: PLANT, split: id, parts: 3}
contract:
  key: [press, at]
  time: {column: at, every: 1 h}
  columns:
    press: {type: text}
    force: {type: float, unit: kN, between: [0, 500]}
    strokes: {type: int, unit: "1"}
    running: {type: bool}
    note: {type: text}
clean: {max_refused: 50 %}
"""
PRESSES = """
title: Presses
source: {format: jdbc, jdbc: {url: "URL", login: PLANT, query: "SELECT press, hall FROM presses WHERE hall <> 'sold'"}}
contract: {key: [press], columns: {hall: {type: text}}}
"""
TABLES = """
CREATE TABLE readings (id bigint PRIMARY KEY, press text, at timestamptz, force numeric(8, 3), strokes smallint,
  running boolean, note varchar(20));
CREATE TABLE presses (press text, hall text);
INSERT INTO presses VALUES ('p1', 'north'), ('p2', 'south'), ('p3', 'sold');
INSERT INTO readings SELECT n, 'p' || (1 + n % 2), timestamptz '2026-03-02 00:00:00+00' + (n / 2) * interval '1 hour',
  100.125 + n, n, n % 3 = 0, CASE WHEN n % 5 = 0 THEN NULL ELSE 'it''s, "n"' END FROM generate_series(0, 95) AS n;
UPDATE readings SET force = 900 WHERE id = 7;
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="nightmill-pg-") as folder, server(Path(folder)) as running:
        running.run(TABLES)
        yield running


@pytest.fixture
def folder(tmp_path: Path, database: Postgres) -> Path:
    driver = f"spark: {{settings: {{spark.jars.packages: {DRIVER}}}}}\n"
    files = {"env/local.yaml": f"lake: lake\n{driver}", "env/bare.yaml": "lake: lake\n"}
    files |= {"data/plant/readings.yaml": READINGS, "data/plant/presses.yaml": PRESSES}
    for name, text in files.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("URL", database.url))
    (tmp_path / "raw").mkdir()
    return tmp_path


def _run(folder: Path, *words: str, password: str | None = PASSWORD, code: int = 0) -> Any:
    """Runs a command in a process of its own, whose Spark has the driver; returns its results."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PLANT_")}
    if password is not None:
        environment |= {"PLANT_USER": USER, "PLANT_PASSWORD": password}
    command = [sys.executable, "-m", "nightmill", *words, "--conf", str(folder / "conf"), "--json"]
    command += ["--lake", str(folder / "lake")]
    command += ["--raw", str(folder / "raw")] if words[0] == "land" else []
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == code, done.stderr
    if password:
        assert password not in done.stdout + done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def _rows(folder: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DeltaTable(str(folder / "lake" / table)).to_pyarrow_table().to_pylist()
    return found


def test_days_of_a_table_land_once_and_again_where_they_changed(folder: Path, database: Postgres) -> None:
    targets, days = ["data/plant/readings", "data/plant/presses"], ["--from", "2026-03-02", "--to", "2026-03-03"]
    _run(folder, "land", *targets, *days)
    _run(folder, "clean", *targets)
    bronze, silver = _rows(folder, "bronze/plant/readings"), _rows(folder, "silver/plant/readings")
    assert (len(bronze), len(silver), len(_rows(folder, "silver/plant/presses"))) == (96, 95, 2)
    assert {row["_file"] for row in bronze} == {f"jdbc:readings@2026-03-0{n}" for n in (2, 3)}
    [row] = [row for row in silver if (row["press"], row["ts"]) == ("p2", datetime(2026, 3, 2, 4, tzinfo=UTC))]
    assert (row["force"], row["strokes"], row["running"], row["note"]) == (109.125, 9, True, 'it\'s, "n"')
    assert sum(row["note"] is None for row in silver) == 20
    [refused] = _rows(folder, "quarantine/plant/readings")
    assert (refused["rule"], json.loads(refused["original"])["id"]) == ("between", 7)

    version = DeltaTable(str(folder / "lake/bronze/plant/readings")).version()
    _run(folder, "land", *targets, *days)
    assert DeltaTable(str(folder / "lake/bronze/plant/readings")).version() == version, "nothing is new"
    database.run("UPDATE readings SET force = 400 WHERE id = 7; DELETE FROM readings WHERE id = 8")
    try:
        _run(folder, "land", targets[0], *days)
        _run(folder, "clean", targets[0])
    finally:
        database.run("UPDATE readings SET force = 900 WHERE id = 7")
    silver = _rows(folder, "silver/plant/readings")
    assert len(silver) == 95 and {row["day"] for row in silver} == {date(2026, 3, 2), date(2026, 3, 3)}
    assert 400 in {row["force"] for row in silver}
    assert _rows(folder, "quarantine/plant/readings") == []


@pytest.mark.parametrize(
    ("sets", "password", "code", "told"),
    [
        ((), "another password", 2, "the database does not let us in"),
        ((), None, 2, "PLANT_USER is not set"),
        (("source.jdbc.url=jdbc:postgresql://127.0.0.1:1/postgres",), PASSWORD, 2, "the database does not let us in"),
        (("source.table=writings",), PASSWORD, 3, 'relation "writings" does not exist'),
        (("contract.columns.weight={type: float, unit: kg}",), PASSWORD, 3, "column 'weight' is missing"),
    ],
    ids=["password", "login", "address", "table", "column"],
)
def test_a_database_that_does_not_answer_as_it_should_is_a_typed_error(
    folder: Path, sets: tuple[str, ...], password: str | None, code: int, told: str
) -> None:
    words = ["data/plant/readings", "--day", "2026-03-02", *(word for item in sets for word in ("--set", item))]
    assert told in _run(folder, "land", *words, password=password, code=code)


def test_without_a_driver_the_fix_names_the_setting(folder: Path) -> None:
    told = _run(folder, "land", "data/plant/presses", "--env", "bare", code=2)
    assert "no driver for this database" in told and "spark.jars.packages" in told
