"""What publishers write in their own ways means what they meant: times, encodings, numbers, files that differ."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from town import FIRST, Town

from nightmill.clean.accounting import Counts
from nightmill.commands import clean, land
from nightmill.config import DataSet
from nightmill.errors import ConfigError, DataRefused
from nightmill.ingest.drop import find_days
from nightmill.privacy import KEY

module = sys.modules["nightmill.ingest.land"]
pytestmark = pytest.mark.usefixtures("spark")
TARGET = "data/town/speeds"
LOOSE = "clean.max_refused=1.0"
ONCE = 'source.path="${raw}/speeds/*.*"'


def _cleaned(town: Town, *sets: str) -> Counts:
    for stage in (land, clean):
        outcome = stage(town.work(stage.__name__, sets=(LOOSE, ONCE, *sets)), [TARGET])
        for error in outcome.failures.values():
            raise error
    counts: Counts = outcome.results[TARGET].total()
    assert counts.parsed == counts.accepted + sum(counts.refused.values()) + counts.duplicates
    return counts


def _landed(town: Town, *sets: str) -> dict[str, Any]:
    """The only record that landed."""
    outcome = land(town.work("land", sets=(LOOSE, ONCE, *sets)), [TARGET])
    for error in outcome.failures.values():
        raise error
    (row,) = town.rows("bronze")
    return row


def _write(town: Town, content: bytes | str, name: str = "a.csv") -> None:
    folder = town.raw / "speeds"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _times(town: Town, texts: list[str], *sets: str, series: str = "") -> dict[float, datetime]:
    """Number of a line -> the UTC time it got."""
    lines = [f'{series or number},"{text}",{number}' for number, text in enumerate(texts)]
    _write(town, "\n".join(["detector,ts,speed", *lines]))
    _cleaned(town, *sets)
    return {row["speed"]: row["ts"].astimezone(UTC).replace(tzinfo=None) for row in town.rows("silver")}


def test_a_time_with_an_offset_or_a_zone_is_that_instant_and_a_clock_without_a_date_is_none(town: Town) -> None:
    texts = [
        "2024-07-01 12:00:00 UTC", "2024-07-01 13:00:00 Europe/London", "2024-07-01 14:00:00+1:00",
        "2024-07-01T15:00Z", "2024-07-01 16:00:00", "2024-07-01", "12:30:00", "T12:30", "2024", "2024-07",
    ]  # fmt: skip
    found = _times(town, texts, "contract.time.format=null")
    first = datetime(2024, 7, 1)
    hours = {0: 12, 1: 12, 2: 13, 3: 15, 4: 14, 5: -2}
    assert found == {number: first + timedelta(hours=hour) for number, hour in hours.items()}


def test_a_format_may_say_the_offset(town: Town) -> None:
    sets = ('contract.time.format="dd.MM.yyyy HH:mm XXX"',)
    assert _times(town, ["01.07.2024 12:00 +02:00"], *sets) == {0: datetime(2024, 7, 1, 10)}


@pytest.mark.parametrize("pattern", ["YYYY-MM-DD", "%Y-%m-%d", "time"])
def test_a_pattern_that_is_none_is_refused(town: Town, pattern: str) -> None:
    with pytest.raises(ConfigError, match="no letter of a time"):
        town.configuration(f"contract.time.format={pattern}").data_set(TARGET)


@pytest.mark.parametrize("begin", [datetime(2026, 3, 28, 23), datetime(2026, 10, 24, 22)])
def test_ends_are_what_the_clock_shows_then(town: Town, begin: datetime) -> None:
    from zoneinfo import ZoneInfo

    begins = [begin + timedelta(minutes=15 * n) for n in range(24)]
    ends = [(t + timedelta(minutes=15)).replace(tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin")) for t in begins]
    sets = ("contract.time.stamp=end", "contract.time.every=15 min", "source.row_number=line")
    found = _times(
        town, [f"{t:%Y-%m-%d %H:%M:%S}" for t in ends], *sets, "contract.time.repeated_hour=in_order", series="a"
    )
    assert found == dict(enumerate(begins))


def test_days_that_are_counted_begin_at_local_midnight(town: Town) -> None:
    _write(town, "detector,n,speed\n" + "".join(f"a,{n},{n}\n" for n in range(1, 6)))
    sets = ("contract.time={column: ts, every: 1 d, zone: Europe/Berlin, index: n, start: 2024-03-29 00:00}",)
    _cleaned(town, *sets, "contract.columns.n={type: int}")
    assert sorted(row["ts"].astimezone(UTC).hour for row in town.rows("silver")) == [22, 22, 23, 23, 23]


LINE = "detector,ts,speed\nGröße,2026-03-02 00:00:00,7\n"


@pytest.mark.parametrize(
    "encoding, content",
    [
        ("latin-1", LINE.encode("latin-1")),
        ("cp1252", LINE.replace("ö", "€").encode("cp1252")),
        ("utf-8-sig", LINE.encode("utf-8-sig")),
        ("UTF-16LE", LINE.replace("\n", "\r\n").encode("utf-16-le")),
        ("UTF-16", LINE.encode("utf-16")),
        ("UTF-8", LINE.replace("\n", "\r").encode()),
    ],
)
def test_csv_is_read_in_its_encoding_and_with_its_line_ends(town: Town, encoding: str, content: bytes) -> None:
    _write(town, content)
    assert _landed(town, f"source.encoding={encoding}")["detector"] == ("Gr€ße" if encoding == "cp1252" else "Größe")


@pytest.mark.parametrize("source", ["json", "document", "whitespace"])
def test_lines_and_documents_are_read_in_their_encoding(town: Town, source: str) -> None:
    record = '{"detector": "Größe", "ts": "2026-03-02 00:00:00", "speed": 7}'
    text, sets = {
        "json": (record, ("source.format=json",)),
        "document": ("\ufeff" + '{"d": [' + record + "]}", ("source.format=json", "source.records=d")),
        "whitespace": ("Größe 2026-03-02T00:00:00 7\n", (
            "source.separator=whitespace", "source.header=false", "source.columns=[detector, ts, speed]",
            'contract.time.format="yyyy-MM-dd\'T\'HH:mm:ss"',
        )),
    }[source]  # fmt: skip
    encoding = "UTF-8" if source == "document" else "ISO-8859-1"
    _write(town, text.encode(encoding))
    assert _landed(town, f"source.encoding={encoding}", *sets)["detector"] == "Größe"


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_of_pandas_in_nanoseconds_are_read(town: Town, zone: str | None) -> None:
    folder = town.raw / "speeds"
    folder.mkdir()
    ts = pa.array([datetime(2026, 3, 2, 12)], pa.timestamp("ns", zone))
    pq.write_table(pa.table({"detector": ["a"], "ts": ts, "speed": [float("nan")]}), folder / "a.parquet")
    sets = (
        "source.format=parquet",
        "contract.time.format=null",
        "contract.columns.speed={type: float, required: false}",
    )
    assert _cleaned(town, *sets).accepted == 1
    (row,) = town.rows("silver")
    assert (row["ts"].astimezone(UTC).hour, row["speed"]) == (12 if zone else 11, None)


def test_old_times_of_parquet_mean_utc_and_what_spark_cannot_read_is_named(town: Town) -> None:
    folder = town.raw / "speeds"
    folder.mkdir()
    columns = {"detector": ["a"], "ts": pa.array([datetime(2026, 3, 2, 12)], pa.timestamp("us")), "speed": [7.0]}
    pq.write_table(pa.table(columns), folder / "a.parquet", use_deprecated_int96_timestamps=True)
    pq.write_table(pa.table(columns | {"at": pa.array([0], pa.time64("us"))}), folder / "b.parquet")
    outcome = land(town.work("land", sets=(ONCE, "source.format=parquet", "contract.time.format=null")), [TARGET])
    (why,) = outcome.results[TARGET].refused.values()
    assert why == "column 'at' is of type time64[us], which Spark cannot read"
    (row,) = town.rows("bronze")
    assert row["ts"].astimezone(UTC).hour == 12


@pytest.mark.slow
def test_a_column_without_a_value_says_nothing_of_its_type(town: Town) -> None:
    sets = ("source.format=parquet", "contract.columns.speed={type: float, required: false}")

    def drop(name: str, hour: int, speed: pa.Array) -> None:
        ts = pa.array([f"2026-03-02 {hour:02d}:00:00"])
        pq.write_table(pa.table({"detector": ["a"], "ts": ts, "speed": speed}), town.raw / "speeds" / name)

    (town.raw / "speeds").mkdir()
    for hour, speed in enumerate([pa.nulls(1), pa.array([1.5]), pa.nulls(1), pa.array([2], pa.int32())]):
        drop(f"{hour}.parquet", hour, speed)
        _cleaned(town, *sets)
    assert [row["speed"] for row in sorted(town.rows("silver"), key=lambda r: r["ts"])] == [None, 1.5, None, 2.0]


def test_numbers_that_mean_missing_are_missing_and_what_is_no_number_is_refused(town: Town) -> None:
    texts = ["1.5", "-999", "-999.0", "NaN", "12f", "1D", "1e400", "inf", "-Infinity", "1e2"]
    lines = [f"a,2026-03-02 {hour:02d}:00:00,{text}" for hour, text in enumerate(texts)]
    _write(town, "\n".join(["detector,ts,speed", *lines]))
    counts = _cleaned(town, 'source.missing=["-999"]', "contract.columns.speed={type: float, required: false}")
    assert dict(counts.refused) == {"type": 5}
    assert [row["speed"] for row in sorted(town.rows("silver"), key=lambda r: r["ts"])] == [1.5, None, None, None, 100]


def test_a_converted_value_on_its_bound_is_inside_and_whole_numbers_stay_whole(town: Town) -> None:
    _write(town, "detector,ts,speed,n\na,2026-03-02 00:00:00,212,0\na,2026-03-02 00:30:00,-58,99\n")
    sets = (
        'contract.columns.speed={type: float, from_unit: "°F", unit: "°C", between: [-50, 100]}',
        'contract.columns.n={type: int, unit: "1"}',
        "clean.rules=[{range: {of: n, between: [0.5, 10.5], then: clip}}]",
    )
    assert _cleaned(town, *sets).accepted == 2
    assert sorted((row["speed"], row["n"]) for row in town.rows("silver")) == [(-50.0, 10), (100.0, 1)]
    assert pa.types.is_int64(town.table("silver").schema.field("n").type)


WIDE = (
    "source.wide={entity: detector, value: speed}",
    "contract.columns={detector: {type: text}, speed: {type: float}}",
)


def test_wide_files_that_differ_have_the_records_that_they_have(town: Town) -> None:
    _write(town, "ts,A,B\n2026-03-02 00:00:00,1,2\n2026-03-02 00:30:00,3,\n")
    _write(town, "ts,A,C\n2026-03-02 01:00:00,4,5\n", "b.csv")
    counts = _cleaned(town, *WIDE)
    assert (counts.parsed, dict(counts.refused)) == (6, {"required": 1}), "an empty cell is a record without a value"
    assert sorted((row["detector"], row["speed"]) for row in town.rows("silver")) == [
        ("A", 1), ("A", 3), ("A", 4), ("B", 2), ("C", 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sets, said",
    [
        (
            (WIDE[0], "contract.columns={detector: {type: text, personal: pseudonym}, speed: {type: float}}"),
            "wide columns",
        ),
        ((WIDE[0], "contract.columns={detector: {type: text}, speed: {type: float, blur: 1}}"), "wide columns"),
        (("source.file_name='(?P<who>.)'", "contract.columns.who={type: text, personal: pseudonym}"), "names of files"),
    ],
)
def test_what_cannot_be_protected_on_landing_is_refused(town: Town, sets: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        town.configuration(*sets).data_set(TARGET)


def test_a_header_that_differs_only_in_case_is_refused(town: Town) -> None:
    _write(town, "detector,ts,speed,Speed\na,2026-03-02 00:00:00,7,8\n")
    with pytest.raises(DataRefused, match="twice or not at all"):
        _cleaned(town)


def test_a_header_in_another_case_is_named(town: Town) -> None:
    _write(town, "detector,ts,Speed\na,2026-03-02 00:00:00,7\n")
    with pytest.raises(DataRefused, match=r"it has 'Speed': if it is the same, write from: \[speed, Speed\]"):
        _cleaned(town)
    assert _cleaned(town, "contract.columns.speed={type: float, from: [speed, Speed]}").accepted == 1


def test_what_a_parser_cannot_read_is_refused_also_where_files_are_read_one_by_one(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = module.frame

    def fails_for_several(spark: Any, data_set: DataSet, groups: Any) -> Any:
        if sum(map(len, groups.values())) > 1:
            raise ZeroDivisionError("of a test")
        return frame(spark, data_set, groups)

    for name, text in {"good": "1 1\n0 5\n", "bad": "no instance", "none": ""}.items():
        _write(town, text, f"{name}.txt")
    monkeypatch.setattr(module, "frame", fails_for_several)
    (town.folder / "conf/data/town/jobs.yaml").write_text("""
title: Jobs
source: {format: files, path: "${raw}/speeds/*.txt", parser: {jobshop: {}}, file_name: "(?P<instance>.*)"}
contract: {key: [instance, job, step], columns: {duration: {type: int, unit: "1"}}}
""")
    landed = land(town.work("land"), ["data/town/jobs"]).results["data/town/jobs"]
    assert (landed.records, landed.files) == (1, 1)
    assert {name.rpartition("/")[2]: why for name, why in landed.refused.items()} == {
        "bad.txt": "line 1 has something else than whole numbers: 'no instance'",
        "none.txt": "has no content",
    }


@pytest.mark.parametrize(
    "then, masters",
    [("quarantine", ["gh", "ghi", "gi"]), ('"null"', ["gh", "ghi"])],
)
@pytest.mark.slow
def test_records_are_judged_anew_where_a_master_changes(town: Town, then: str, masters: list[str]) -> None:
    text = 'title: N\nsource: {format: csv, path: "${raw}/names.csv"}\ncontract: {key: [name]}\n'
    (town.folder / "conf/data/town/names.yaml").write_text(text)
    lines = [f"{d},2026-03-02 00:00:00,7,{d}" for d in "ghi"]
    _write(town, "\n".join(["detector,ts,speed,who", *lines]))
    rule = f"clean.rules=[{{known: {{of: who, in: data/town/names, as: name, then: {then}}}}}]"
    for names in masters:
        (town.raw / "names.csv").write_text("\n".join(["name", *names]) + "\n")
        for stage in (land, clean):
            for error in stage(town.work(stage.__name__), ["data/town/names"]).failures.values():
                raise error
        _cleaned(town, "contract.columns.who={type: text}", rule)
        assert sorted(row["who"] for row in town.rows("silver") if row["who"]) == list(names)


def test_json_keys_may_have_blanks_and_dots_and_lists_are_protected(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "a long random text of a test")
    _write(
        town,
        '{"m": {"s id": "x", "PM2.5": 3.5}, "ts": "2026-03-02 00:00:00", '
        '"who": [{"phone": "030 1"}, {"phone": "030 2"}]}\n'
        '{"m": {"s id": "y", "PM2.5": 4.5}, "ts": "2026-03-02 00:00:00", "who": "030 3"}\n',
        "a.json",
    )
    sets = (
        "source.format=json",
        "contract.columns={detector: {type: text, from: m.s id}, speed: {type: float, from: m.PM2.5},"
        " phone: {type: text, from: who.phone, personal: pseudonym}}",
    )
    assert _cleaned(town, *sets).accepted == 2
    assert sorted((row["detector"], row["speed"]) for row in town.rows("silver")) == [("x", 3.5), ("y", 4.5)]
    assert "030" not in str(town.rows("bronze"))


def test_numbers_may_have_decimal_commas_and_times_may_be_numbers(town: Town) -> None:
    _write(town, "detector;ts;speed\na;1780000000;1,5\na;1780001800,5;2\na;1780003600;1.5\n")
    sets = (
        "source.separator=;",
        'source.decimal=","',
        "contract.time.format=epoch",
        "contract.time.zone=Europe/Berlin",
    )
    counts = _cleaned(town, *sets)
    assert dict(counts.refused) == {"time": 1, "type": 1}, "a sign that is not the decimal one is no number"
    (row,) = town.rows("silver")
    assert (row["speed"], row["ts"].timestamp()) == (1.5, 1_780_000_000)


def test_a_bug_in_one_data_set_stops_no_other(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data_set: DataSet, *rest: Any) -> Any:
        if data_set.name == "town/speeds":
            raise ZeroDivisionError("of a test")
        return find_days(data_set, *rest)

    town.drop(FIRST, ["a,2026-03-02 00:00:00,7"])
    (town.raw / "roads.csv").write_text("from,to,weight\na,b,1\n")
    monkeypatch.setattr(sys.modules["nightmill.ingest.land"], "find_days", broken)
    outcome = land(town.work("land", FIRST), [TARGET, "data/town/roads"])
    assert outcome.exit_code == 1 and list(outcome.results) == ["data/town/roads"]
    assert "a bug stopped the command: ZeroDivisionError: of a test" in outcome.failures[TARGET].what
