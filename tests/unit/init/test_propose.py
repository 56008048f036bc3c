"""A csv file becomes the YAML of a system: contract, key, step, units, zone and rules out of the data alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from parking import written

from nightmill.config import Configuration
from nightmill.errors import ConfigError, DataRefused
from nightmill.init import propose

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    folder = tmp_path / "conf"
    (folder / "env").mkdir(parents=True)
    (folder / "env" / "local.yaml").write_text("lake: lake\n")
    return folder


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8"), (",", "utf-8-sig"), ("\t", "iso-8859-1")])
def test_what_the_data_show_is_proposed(conf: Path, tmp_path: Path, separator: str, encoding: str) -> None:
    found = propose(conf, "city/parking", written(tmp_path / "parking.csv", separator, encoding))
    data_set = Configuration.load(conf).data_set("data/city/parking")
    assert (data_set.source.separator, data_set.source.missing) == (separator, ["NA"])
    assert data_set.source.encoding == ("ISO-8859-1" if encoding == "iso-8859-1" else "UTF-8")
    assert data_set.contract.key == ["parkhaus", "ts"]
    time = data_set.contract.time
    assert time is not None
    assert (time.format, time.every, time.zone) == ("d.M.yyyy H:mm", timedelta(hours=1), "Europe/Berlin")
    columns = data_set.contract.columns
    assert {name: c.type for name, c in columns.items()} == {
        "parkhaus": "text",
        "frei": "int",
        "temperatur": "float",
        "gez_hlt": "int",
        "zustand": "text",
    }
    assert columns["temperatur"].unit == "°C" and columns["temperatur"].required
    assert not columns["frei"].required, "it is missing once"
    low, high = columns["frei"].between or (0, 0)
    assert low == 0 and 239 < high < 500
    assert columns["zustand"].one_of == ["offen", "zu"]
    assert [(rule.kind, rule.named) for rule in data_set.clean.rules] == [("monotone", ["gez_hlt"])]
    assert any("Europe/Berlin" in remark for remark in found.remarks)
    use_case = Configuration.load(conf).use_case("city/parking")
    assert use_case.target.column == "frei"


def test_times_in_parts_and_tables_without_time_are_told(conf: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts.csv"
    hours = "".join(f"2026,3,{1 + h // 24},{h % 24},{h * 7 % 50}.5\n" for h in range(96))
    parts.write_text("year,month,day,hour,load_kwh\n" + hours)
    propose(conf, "city/load", parts)
    time = Configuration.load(conf).data_set("data/city/load").contract.time
    assert time is not None and time.parts is not None
    assert time.parts.named == {"year": "year", "month": "month", "day": "raw_day", "hour": "hour"}
    table = tmp_path / "machines.csv"
    table.write_text("id,model,age\n" + "".join(f"m{n},model{n % 3},{n}\n" for n in range(40)))
    found = propose(conf, "factory/machines", table)
    data_set = Configuration.load(conf).data_set("data/factory/machines")
    assert (data_set.contract.time, data_set.contract.key, found.use_case) == (None, ["id"], None)


def test_names_that_yaml_reads_as_something_else_are_quoted(conf: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("No,ts,on,1st\n" + "".join(f"{n % 2},2026-03-01 {n // 2:02d}:00:00,yes,{n}\n" for n in range(40)))
    propose(conf, "city/odd", path)
    data_set = Configuration.load(conf).data_set("data/city/odd")
    assert data_set.contract.key == ["no", "ts"] and set(data_set.contract.columns) == {"no", "on", "n_1st"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no table"),
        (b"1,2,3\n4,5,6\n7,8,9\n", "its first line is numbers"),
        (b"a,a,b\n1,2,3\n4,5,6\n", "twice"),
        (b"just one line\n", "no table"),
        (b"\x00\x01\x02\x03", "no table"),
    ],
)
def test_what_is_no_table_is_refused(conf: Path, tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises((DataRefused, ConfigError), match=told):
        propose(conf, "city/x", path)


def test_a_folder_without_environments_is_used_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    propose(folder, "city/parking", written(tmp_path / "parking.csv"))
    assert Configuration.load(folder).use_case("city/parking").target.column
    with pytest.raises(ConfigError, match="no environment 'cluster'") as refused:
        Configuration.load(folder, "cluster")
    assert "name one's file" in refused.value.fix


@pytest.mark.parametrize("name", ["no", "true", "On", "null"])
def test_a_target_that_yaml_reads_as_something_else_is_quoted(conf: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"ts,{name}\n" + "".join(f"2026-03-0{1 + n // 24} {n % 24:02d}:00:00,{n}.5\n" for n in range(72)))
    found = propose(conf, "city/x", path)
    assert Configuration.load(conf).use_case("city/x").target.column == name.lower()
    assert any("one series" in remark for remark in found.remarks)


def test_the_hour_that_stands_twice_shows_the_zone(conf: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    times = [(datetime(2025, 10, 20, tzinfo=UTC) + timedelta(hours=n)).astimezone(BERLIN) for n in range(240)]
    lines = (f"{name},{t:%Y-%m-%d %H:%M:%S},{n * 7 % 11}.5" for n, t in enumerate(times) for name in ("north", "south"))
    path.write_text("\n".join(["station,ts,v", *lines]) + "\n")
    propose(conf, "city/x", path)
    found = Configuration.load(conf).data_set("data/city/x")
    assert found.contract.time is not None and found.contract.key == ["station", "ts"]
    assert (found.contract.time.zone, found.contract.time.repeated_hour) == ("Europe/Berlin", "in_order")
    assert found.source.row_number == "line"


def test_no_value_of_a_small_file_is_outside_of_what_is_proposed(conf: Path, tmp_path: Path) -> None:
    path, values = tmp_path / "x.csv", [20 + n / 10 for n in range(40)] + [41.5, -30.25]
    lines = (f"2026-03-0{1 + n // 24} {n % 24:02d}:00:00,{value}" for n, value in enumerate(values))
    path.write_text("\n".join(["ts,temp_c", *lines]) + "\n")
    propose(conf, "city/x", path)
    low, high = Configuration.load(conf).data_set("data/city/x").contract.columns["temp_c"].between
    assert low <= min(values) and max(values) <= high


def test_files_that_are_there_are_not_overwritten(conf: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "parking.csv")
    propose(conf, "city/parking", path)
    with pytest.raises(ConfigError, match="already"):
        propose(conf, "city/parking", path)
    assert propose(conf, "city/parking", path, force=True).data_set.exists()
    with pytest.raises(ConfigError, match="is no name"):
        propose(conf, "Parking", path)
