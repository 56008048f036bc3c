"""Raw files become bronze records, each once."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from town import FIRST, HEADER, Town, readings

from nightmill.commands import land
from nightmill.errors import ConfigError, DataRefused, NightmillError

pytestmark = pytest.mark.usefixtures("spark")
TARGET = ["data/town/speeds"]
DAY = timedelta(days=1)


def _land(town: Town, *days: date, sets: tuple[str, ...] = ()) -> object:
    outcome = land(town.work("land", *(days or (FIRST,)), sets=sets), TARGET)
    for error in outcome.failures.values():
        raise error
    return outcome.results["data/town/speeds"]


def test_records_land_as_text_with_their_origin(town: Town) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,fast", "b,2026-03-02 00:30:00, 7"])
    _land(town)
    rows = town.rows("bronze", drop=("_file_hash", "_corrupt"))
    origin = {"_file": "speeds/2026-03-02/a.csv", "_drop_day": FIRST, "day": FIRST, "_record_day": FIRST}
    assert rows == [
        {"detector": "a", "ts": "2026-03-02 00:00:00", "speed": "fast"} | origin,
        {"detector": "b", "ts": "2026-03-02 00:30:00", "speed": " 7"} | origin,
    ]


def test_a_drop_lands_once_however_often_it_is_landed(town: Town) -> None:
    town.drop(FIRST, readings(FIRST))
    _land(town)
    before = town.rows("bronze")
    again = _land(town)
    assert (again.records, again.known) == (0, 1)  # type: ignore[attr-defined]
    assert town.rows("bronze") == before


def _known_files(town: Town, monkeypatch: pytest.MonkeyPatch, *, reads_bronze: bool) -> int:
    """How many of the drop's files are known; whether bronze itself was read for it is checked."""
    read: list[object] = []

    def to_pyarrow_dataset(self: DeltaTable, *args: object, **more: object) -> object:
        if "/bronze/" in self.table_uri:
            read.append(self)
        return original(self, *args, **more)

    original = DeltaTable.to_pyarrow_dataset
    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "to_pyarrow_dataset", to_pyarrow_dataset)
        known = _land(town).known  # type: ignore[attr-defined]
    assert bool(read) == reads_bronze
    return int(known)


def test_what_has_landed_is_known_without_reading_bronze(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,1"], "a.csv")
    town.drop(FIRST, ["b,2026-03-02 00:00:00,2"], "b.csv")
    _land(town)
    town.drop(FIRST, ["a,2026-03-02 00:00:00,9"], "a.csv")
    _land(town)
    assert _known_files(town, monkeypatch, reads_bronze=False) == 2
    town.drop(FIRST, [], "a.csv")
    assert _land(town, sets=("source.may_be_empty=true",)).corrected == 1  # type: ignore[attr-defined]
    assert [row["_file"] for row in town.rows("bronze")] == ["speeds/2026-03-02/b.csv"]
    assert _known_files(town, monkeypatch, reads_bronze=False) == 2, "a file without records has landed, too"


def test_what_has_landed_is_looked_up_where_the_note_of_it_is_lost(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.drop(FIRST, readings(FIRST))
    _land(town)
    lake = town.work("read").lake
    lake.table("ops", "files").delta().delete()
    assert _known_files(town, monkeypatch, reads_bronze=True) == 1
    assert _known_files(town, monkeypatch, reads_bronze=False) == 1
    lake.table("bronze", "town/speeds").delta().optimize.compact()
    lake.table("bronze", "town/speeds").delta().delete("detector = 'a'")
    assert _known_files(town, monkeypatch, reads_bronze=True) == 1
    assert _known_files(town, monkeypatch, reads_bronze=False) == 1


def test_the_same_content_under_two_names_lands_once(town: Town) -> None:
    town.drop(FIRST, readings(FIRST), "a.csv")
    town.drop(FIRST, readings(FIRST), "copy.csv")
    _land(town)
    assert len(town.rows("bronze")) == 144


def test_a_corrected_file_replaces_what_landed_under_its_name(town: Town) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,1"], "a.csv")
    town.drop(FIRST, ["b,2026-03-02 00:00:00,2"], "b.csv")
    _land(town)
    town.drop(FIRST, ["a,2026-03-02 00:00:00,9"], "a.csv")
    assert _land(town).corrected == 1  # type: ignore[attr-defined]
    assert sorted((r["detector"], r["speed"]) for r in town.rows("bronze")) == [("a", "9"), ("b", "2")]


def test_columns_are_matched_by_name_in_each_file(town: Town) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,1"], "a.csv")
    town.drop(FIRST, ["2,b,2026-03-02 00:00:00"], "b.csv", header="speed,detector,ts")
    _land(town)
    assert sorted((r["detector"], r["speed"]) for r in town.rows("bronze")) == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    "setting",
    ["source.new_columns=land", "contract.columns.road={type: text, optional: true}"],
    ids=["all", "declared"],
)
def test_a_new_column_lands_where_it_was_declared(town: Town, setting: str) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,1"])
    _land(town)
    town.drop(FIRST, ["a,2026-03-02 00:30:00,1,wet"], "b.csv", header="detector,ts,speed,road")
    assert "column 'road' is new: declare it in contract.columns" in _land(town).refused["speeds/2026-03-02/b.csv"]  # type: ignore[attr-defined]
    assert [(r["rule"], r["_file"]) for r in town.rows("quarantine")] == [("schema", "speeds/2026-03-02/b.csv")]
    assert _land(town, sets=(setting,)).files == 1  # type: ignore[attr-defined]
    assert sorted(str(r["road"]) for r in town.rows("bronze")) == ["None", "wet"]
    assert town.rows("quarantine") == [], "a file that has landed after all is no longer refused"


def test_one_bad_file_does_not_stop_the_good_ones_and_is_quarantined(town: Town) -> None:
    town.drop(FIRST, readings(FIRST))
    town.drop(FIRST, ["1,2"], "b.csv", header="detector,velocity")
    landed = _land(town)
    why = "column 'speed' is missing; it has 'velocity': if it is the same, write from: [speed, velocity]"
    assert landed.refused == {"speeds/2026-03-02/b.csv": why}  # type: ignore[attr-defined]
    refused = town.rows("quarantine", drop=("_file_hash",))
    assert [(r["rule"], r["_file"], r["stage"]) for r in refused] == [("schema", "speeds/2026-03-02/b.csv", "land")]
    _land(town)
    assert len(town.rows("quarantine")) == 1, "landing again does not double it"


def test_a_file_in_another_encoding_is_refused_before_letters_are_lost(town: Town) -> None:
    path = town.drop(FIRST, [])
    path.write_bytes((HEADER + "\nMünchen,2026-03-02 00:00:00,1\n").encode("latin-1"))
    with pytest.raises(DataRefused, match="not UTF-8: invalid .* near byte 19"):
        _land(town)
    _land(town, sets=("source.encoding=ISO-8859-1",))
    assert [row["detector"] for row in town.rows("bronze")] == ["München"]


def test_quoted_texts_may_hold_separators_quotes_and_line_breaks(town: Town) -> None:
    town.drop(FIRST, ['"a, the ""first""\nof all",2026-03-02 00:00:00,1', "b,2026-03-02 00:00:00,2"])
    _land(town, sets=("source.line_breaks=true",))
    assert sorted(row["detector"] for row in town.rows("bronze")) == ['a, the "first"\nof all', "b"]


def test_a_drop_without_a_good_file_is_refused_and_nothing_is_landed(town: Town) -> None:
    town.drop(FIRST, ["1,2"], header="detector,velocity")
    with pytest.raises(DataRefused, match="column 'speed' is missing"):
        _land(town)
    assert not (town.lake / "bronze").exists()


def test_no_drop_is_refused_by_name(town: Town) -> None:
    with pytest.raises(DataRefused, match=r"no file matches speeds/2026-03-02/\*\.csv"):
        _land(town)


@pytest.mark.parametrize("content", ["", "\n", "detector,ts,speed\n"])
def test_an_empty_drop_is_refused(town: Town, content: str) -> None:
    town.drop(FIRST, []).write_text(content)
    with pytest.raises(DataRefused, match="empty|holds no record"):
        _land(town)
    assert not (town.lake / "bronze").exists()


def test_a_drop_that_may_be_empty_is_not_refused(town: Town) -> None:
    rare = ("source.may_be_empty=true",)
    for day, content in ((FIRST, ""), (FIRST + DAY, HEADER + "\n")):
        town.drop(day, []).write_text(content)
        assert _land(town, day, sets=rare).records == 0  # type: ignore[attr-defined]
    assert town.rows("bronze") == []  # a table, so that the next stages know that nothing has happened
    town.drop(FIRST + 2 * DAY, ["a,2026-03-04 00:00:00,1"])
    _land(town, FIRST + 2 * DAY, sets=rare)
    assert [row["speed"] for row in town.rows("bronze")] == ["1"]


def test_a_missing_raw_folder_is_refused(town: Town) -> None:
    town.raw.rmdir()
    with pytest.raises(ConfigError, match="no folder of raw drops"):
        _land(town)


def test_a_drop_per_day_needs_a_day(town: Town) -> None:
    with pytest.raises(ConfigError, match="drop per day"):
        land(town.work("land"), TARGET)


def test_days_of_a_range_without_drop_are_passed_over(town: Town) -> None:
    days = town.history(3)
    (town.raw / "speeds" / "2026-03-03" / "a.csv").unlink()
    assert _land(town, *days).records == 288  # type: ignore[attr-defined]


def _parquet(town: Town, name: str, speed: pa.Array, day: date = FIRST) -> Path:
    path = town.raw / "speeds" / day.isoformat() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    times = pa.array([f"2026-03-02 {n:02d}:00:00" for n in range(len(speed))])
    pq.write_table(pa.table({"detector": ["a"] * len(speed), "ts": times, "speed": speed}), path)
    return path


PARQUET = ('source.format="parquet"', 'source.path="${raw}/speeds/{day}/*.parquet"')


def test_parquet_keeps_the_sources_own_types(town: Town) -> None:
    _parquet(town, "a.parquet", pa.array([1.5, 2.5]))
    _land(town, sets=PARQUET)
    assert town.table("bronze").schema.field("speed").type == pa.float64()


def test_a_corrupt_parquet_file_among_good_ones_is_quarantined(town: Town) -> None:
    _parquet(town, "a.parquet", pa.array([1.5, 2.5]))
    bad = _parquet(town, "b.parquet", pa.array([float(n) for n in range(20)]))
    content = bytearray(bad.read_bytes())
    bad.write_bytes(content[: len(content) // 2])
    landed = _land(town, sets=PARQUET)
    assert list(landed.refused) == ["speeds/2026-03-02/b.parquet"]  # type: ignore[attr-defined]
    assert len(town.rows("bronze")) == 2


def test_a_parquet_file_with_a_damaged_page_is_quarantined_though_its_footer_is_whole(town: Town) -> None:
    _parquet(town, "a.parquet", pa.array([1.5, 2.5]))
    bad = _parquet(town, "b.parquet", pa.array([float(n) for n in range(20)]))
    content = bytearray(bad.read_bytes())
    content[4:60] = b"\xff" * 56
    bad.write_bytes(content)
    landed = _land(town, sets=PARQUET)
    assert list(landed.refused) == ["speeds/2026-03-02/b.parquet"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [pa.int32(), pa.float32(), pa.decimal128(22, 2)])
def test_a_number_may_be_written_in_any_width(town: Town, width: pa.DataType) -> None:
    _parquet(town, "a.parquet", pa.array([1.5, 2.5]))
    _parquet(town, "b.parquet", pa.array([7], pa.int64()).cast(width))
    landed = _land(town, sets=PARQUET)
    assert landed.refused == {} and sorted(row["speed"] for row in town.rows("bronze")) == [1.5, 2.5, 7.0]  # type: ignore[attr-defined]


def test_a_file_of_another_type_does_not_stop_the_good_ones(town: Town) -> None:
    _parquet(town, "a.parquet", pa.array(["slow", "fast"]))
    for name, speed in (("b.parquet", 1.5), ("c.parquet", 2.5)):
        _parquet(town, name, pa.array([speed]))
    landed = _land(town, sets=PARQUET)
    why = "column 'speed' is of another type: string, elsewhere double"
    assert landed.refused == {"speeds/2026-03-02/a.parquet": why}  # type: ignore[attr-defined]
    assert sorted(row["speed"] for row in town.rows("bronze")) == [1.5, 2.5]


def test_a_column_that_changes_its_type_is_refused(town: Town) -> None:
    _parquet(town, "a.parquet", pa.array([1.5, 2.5]))
    _land(town, sets=PARQUET)
    before = town.rows("bronze")
    _parquet(town, "b.parquet", pa.array(["slow", "fast"]), FIRST + DAY)
    with pytest.raises(DataRefused, match="another type"):
        _land(town, FIRST + DAY, sets=PARQUET)
    assert town.rows("bronze") == before


def test_two_runs_at_once_on_one_data_set_give_one_winner(town: Town) -> None:
    town.drop(FIRST, readings(FIRST))
    with town.work("land", FIRST).step("land", "data/town/speeds"):
        outcome = land(town.work("land", FIRST), TARGET)
    assert outcome.exit_code == 4
    assert "being worked on by run" in outcome.failures["data/town/speeds"].what
    _land(town)


def test_whitespace_columns_without_header_number_their_records(town: Town, spark: SparkSession) -> None:
    path = town.drop(FIRST, [])
    path.write_text("a  1  5.5  \n\nb 1 6.5\nb 2 nan? 7\n")
    sets = (
        "source.separator=whitespace",
        "source.header=false",
        "source.columns=[detector, cycle, speed]",
        "source.row_number=n",
        'source.file_name="^(?P<part>.)"',
        "source.constants={town: x}",
        "contract.time={column: ts, every: 1 h, index: cycle, start: 2000-01-01 00:00}",
        "contract.columns.cycle={type: int}",
    )
    _land(town, sets=sets)
    rows = sorted(town.table("bronze").to_pylist(), key=lambda r: r["n"])
    assert [(r["detector"], r["cycle"], r["speed"], r["n"], r["part"], r["town"]) for r in rows] == [
        ("a", "1", "5.5", 1, "a", "x"),
        ("b", "1", "6.5", 2, "a", "x"),
        ("b", "2", "nan?", 3, "a", "x"),
    ]
    assert [r["_corrupt"] for r in rows] == [None, None, "b 2 nan? 7"]


def test_every_failure_is_a_typed_error(town: Town) -> None:
    town.drop(FIRST, readings(FIRST)).write_bytes(b"\xff\xfe\x00detector\x00")
    with pytest.raises(NightmillError):
        _land(town)


def test_a_file_that_is_corrected_to_nothing_takes_its_records_back(town: Town) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,1"], "a.csv")
    _land(town, sets=("source.may_be_empty=true",))
    town.drop(FIRST, [], "a.csv")
    assert _land(town, sets=("source.may_be_empty=true",)).corrected == 1  # type: ignore[attr-defined]
    assert town.rows("bronze") == []


def test_raw_columns_with_names_of_our_own_land_under_others(town: Town) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,1,monday,x"], header="detector,ts,speed,day,_file")
    _land(town)
    (row,) = town.rows("bronze")
    assert (row["raw_day"], row["raw_file"], row["day"]) == ("monday", "x", FIRST)
