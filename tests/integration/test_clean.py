"""Bronze becomes silver: typed, in range, one row per key, with every record accounted for."""

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from town import FIRST, Town, readings

from nightmill.clean.stage import Cleaned
from nightmill.errors import DataRefused
from nightmill.lake.ops import events

pytestmark = pytest.mark.usefixtures("spark")
NEXT = FIRST + timedelta(days=1)


def _clean(town: Town, *days: date, sets: tuple[str, ...] = (), landing: tuple[date, ...] = (FIRST,)) -> Cleaned:
    from nightmill.commands import clean, land

    targets = ["data/town/speeds"]
    for outcome in (
        land(town.work("land", *landing, sets=sets), targets),
        clean(town.work("clean", *days, sets=sets), targets),
    ):
        for error in outcome.failures.values():
            raise error
    return outcome.results["data/town/speeds"]


def test_times_become_utc_and_days_stay_local(town: Town) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:30:00,50", "a,2026-03-02 23:30:00,60"])
    _clean(town)
    rows = town.table("silver").sort_by("ts").to_pylist()
    assert [(r["detector"], r["ts"], r["speed"], r["day"], r["_filled"]) for r in rows] == [
        ("a", datetime(2026, 3, 1, 23, 30, tzinfo=UTC), 50.0, FIRST, False),
        ("a", datetime(2026, 3, 2, 22, 30, tzinfo=UTC), 60.0, FIRST, False),
    ]


def test_each_refused_record_is_kept_with_rule_reason_and_original(town: Town) -> None:
    good = readings(FIRST)[:20]
    bad = [
        "a,2026-03-02 23:00:00,fast",
        "b,2026-03-02 23:00:00,-1",
        "c,2026-03-02 23:00:00,",
        "d,2026-02-30 23:00:00,5",
        "e,2026-03-02 23:00:00,5,6",
        ",2026-03-02 23:00:00,5",
        "f,2026-03-02 23:00:00,NA",
    ]
    town.drop(FIRST, good + bad)
    cleaned = _clean(town)
    refused = {(r["rule"], r["reason"]) for r in town.table("quarantine").to_pylist()}
    assert refused == {
        ("type", "speed is not of type float: 'fast'"),
        ("between", "speed is outside 0 … 200: '-1'"),
        ("required", "speed is missing"),
        ("time", "not a time: '2026-02-30 23:00:00'"),
        ("malformed", "more or fewer fields than columns"),
        ("required", "detector is missing"),
    }
    original = next(r["original"] for r in town.table("quarantine").to_pylist() if r["rule"] == "type")
    assert original == '{"detector":"a","ts":"2026-03-02 23:00:00","speed":"fast"}'
    total = cleaned.total()
    assert (total.parsed, total.accepted, sum(total.refused.values()), total.duplicates) == (27, 20, 7, 0)


def test_of_several_rows_with_one_key_the_latest_drop_wins(town: Town) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,1", "a,2026-03-02 00:00:00,2"])
    town.drop(NEXT, ["a,2026-03-02 00:00:00,3", "a,2026-03-03 00:00:00,4"])
    cleaned = _clean(town, landing=(FIRST, NEXT))
    assert sorted(r["speed"] for r in town.rows("silver")) == [3.0, 4.0]
    total = cleaned.total()
    assert (total.parsed, total.accepted, total.duplicates) == (4, 2, 2)


def test_a_late_file_reopens_exactly_its_days(town: Town) -> None:
    for day in (FIRST, NEXT):
        town.drop(day, readings(day))
    assert set(_clean(town, landing=(FIRST, NEXT)).days) == {FIRST, NEXT}
    later = FIRST + timedelta(days=5)
    town.drop(later, ["z,2026-03-02 12:00:00,77"])
    assert set(_clean(town, landing=(later,)).days) == {FIRST}
    assert [r["speed"] for r in town.rows("silver") if r["detector"] == "z"] == [77.0]
    assert len(town.rows("silver")) == 2 * 144 + 1


def test_a_corrected_file_takes_back_rows_that_it_no_longer_holds(town: Town) -> None:
    town.drop(FIRST, readings(FIRST))
    town.drop(FIRST, ["z,2026-03-02 12:00:00,77", "z,2026-03-03 12:00:00,78"], "b.csv")
    _clean(town)
    town.drop(FIRST, ["z,2026-03-02 12:30:00,79"], "b.csv")
    assert set(_clean(town).days) == {FIRST}
    assert [r["speed"] for r in town.rows("silver") if r["detector"] == "z"] == [79.0]


def test_cleaning_again_does_nothing_and_a_forced_day_is_identical(town: Town) -> None:
    town.drop(FIRST, [*readings(FIRST), "a,2026-03-02 23:10:00,fast"])
    _clean(town)
    before = town.rows("silver"), town.rows("quarantine")
    version = town.work("x").lake.table("silver", "town/speeds").version()
    assert _clean(town).days == {}
    assert town.work("x").lake.table("silver", "town/speeds").version() == version
    assert set(_clean(town, FIRST).days) == {FIRST}
    assert (town.rows("silver"), town.rows("quarantine")) == before


def test_a_day_with_too_many_refused_records_is_refused_whole_and_the_others_are_written(town: Town) -> None:
    town.drop(FIRST, readings(FIRST))
    town.drop(NEXT, [line.rsplit(",", 1)[0] + ",fast" for line in readings(NEXT)])
    with pytest.raises(DataRefused, match="144 of 144 records of 2026-03-03 are refused") as raised:
        _clean(town, landing=(FIRST, NEXT))
    assert "type: speed is not of type float: 'fast'" in raised.value.what
    assert {r["day"] for r in town.rows("silver")} == {FIRST}
    assert len([r for r in town.rows("quarantine") if r["day"] == NEXT]) == 144, "what was refused can be looked at"
    fates = [(r["fate"], r["rule"], r["records"]) for r in events(town.work("x").lake, "records", day=NEXT)]
    assert sorted(fates) == [("parsed", "", 144), ("refused", "type", 144)]
    town.drop(NEXT, readings(NEXT))
    assert set(_clean(town, landing=(NEXT,)).days) == {NEXT}
    assert {r["day"] for r in town.rows("silver")} == {FIRST, NEXT}
    assert town.rows("quarantine") == []


def test_a_changed_contract_makes_all_days_anew(town: Town) -> None:
    town.drop(FIRST, readings(FIRST))
    _clean(town)
    cleaned = _clean(town, sets=("contract.columns.speed.between=[0, 60]", "clean.max_refused=100%"))
    assert cleaned.total().refused["between"] > 0


def test_short_gaps_are_filled_within_the_day_and_marked(town: Town) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,10", "a,2026-03-02 01:30:00,40", "a,2026-03-02 06:00:00,5"])
    _clean(town, sets=("clean.gaps={fill: interpolate, at_most: 1 h}",))
    rows = town.table("silver").sort_by("ts").to_pylist()
    assert [(r["ts"].hour, r["ts"].minute, r["speed"], r["_filled"]) for r in rows] == [
        (23, 0, 10.0, False),
        (23, 30, 20.0, True),
        (0, 0, 30.0, True),
        (0, 30, 40.0, False),
        (5, 0, 5.0, False),
    ]


def test_an_hour_that_the_clock_skips_or_repeats_loses_no_record_silently(town: Town) -> None:
    autumn = date(2026, 10, 25)
    town.drop(autumn, [f"a,2026-10-25 {h:02d}:00:00,{h}" for h in range(24)])
    total = _clean(town, landing=(autumn,)).total()
    assert total.parsed == 24 == total.accepted + total.duplicates + sum(total.refused.values())
    assert {r["day"] for r in town.rows("silver")} == {autumn}


@pytest.mark.parametrize(
    "written", ["2026-03-02T00:30:00+01:00", "2026-03-01 23:30:00Z", "2026-03-02 00:30", "2026-03-02T03:30:00.000+0400"]
)
def test_a_time_that_says_its_offset_needs_no_zone(town: Town, written: str) -> None:
    town.drop(FIRST, [f"a,{written},50"])
    _clean(town, sets=("contract.time.format=null",))
    assert [r["ts"] for r in town.rows("silver")] == [datetime(2026, 3, 1, 23, 30, tzinfo=UTC)]


def test_a_type_that_means_utc_needs_no_zone(town: Town) -> None:
    path = town.drop(FIRST, []).with_suffix(".parquet")
    ts = pa.array([datetime(2026, 3, 1, 23, 30, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"detector": ["a"], "ts": ts, "speed": [50.0]}), path)
    sets = ('source={format: parquet, path: "${raw}/speeds/{day}/*.parquet", missing: []}',)
    _clean(town, sets=(*sets, "contract.time.format=null"))
    assert [(r["ts"], r["day"]) for r in town.rows("silver")] == [(datetime(2026, 3, 1, 23, 30, tzinfo=UTC), FIRST)]


def test_a_local_time_that_the_clock_skips_is_refused(town: Town) -> None:
    spring = date(2026, 3, 29)
    town.drop(spring, [f"a,2026-03-29 {h:02d}:30:00,{h}" for h in range(24)])
    _clean(town, landing=(spring,))
    assert [r["reason"] for r in town.rows("quarantine")] == ["not a time: '2026-03-29 02:30:00'"]
    assert len(town.rows("silver")) == 23


def test_a_stray_time_after_its_drop_is_refused_on_the_drops_day(town: Town) -> None:
    strays = ["a,2099-03-13 00:00:00,5", "a,2026-03-04 00:00:00,5"]
    town.drop(FIRST, [*readings(FIRST), "a,2026-03-03 00:00:00,5", *strays])
    _clean(town)
    assert {(r["day"], r["reason"]) for r in town.rows("quarantine")} == {
        (FIRST, "lies after its drop: '2099-03-13 00:00:00'"),
        (FIRST, "lies after its drop: '2026-03-04 00:00:00'"),
    }
    assert {r["day"] for r in town.rows("silver")} == {FIRST, NEXT}


def test_counts_by_file_day_and_rule_are_told_to_ops(town: Town) -> None:
    town.drop(FIRST, [*readings(FIRST), "a,2026-03-02 23:10:00,fast"])
    _clean(town)
    told = {(e["day"], e["file"], e["fate"], e["rule"], e["records"]) for e in events(town.work("x").lake, "records")}
    at = (FIRST, "speeds/2026-03-02/a.csv")
    assert told == {(*at, "parsed", "", 145), (*at, "accepted", "", 144), (*at, "refused", "type", 1)}


def _replayed(town: Town, path: Path, sets: tuple[str, ...] = ()) -> Cleaned:
    from nightmill.commands import clean

    work = town.work("clean", sets=sets)
    work.replay, work.corrections = True, path
    outcome = clean(work, ["data/town/speeds"])
    for error in outcome.failures.values():
        raise error
    return outcome.results["data/town/speeds"]


def _refused(town: Town, path: Path) -> list[dict[str, str]]:
    from nightmill.commands import show

    show(town.work("show"), ["data/town/speeds"], path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _edited(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_refused_records_are_corrected_and_replayed(town: Town, tmp_path: Path) -> None:
    good, path = readings(FIRST), tmp_path / "refused.csv"
    bad = [
        "d,2026-03-02 10:00:00,fast",
        "e,2026-13-02 10:00:00,5",
        "f,2026-03-02 10:00:00,5,6",
        "g,2026-03-02 10:00:00,-1",
    ]
    town.drop(FIRST, good + bad)
    _clean(town)
    rows = _refused(town, path)
    assert [(r["rule"], r["detector"]) for r in sorted(rows, key=lambda r: r["rule"])] == [
        ("between", "g"),
        ("malformed", ""),
        ("time", "e"),
        ("type", "d"),
    ]
    for row in rows:  # one stays as it is
        row |= {"type": {"speed": "77"}, "time": {"ts": "2026-03-01 10:00:00"}}.get(row["rule"], {})
        if row["rule"] == "malformed":
            row |= {"detector": "f", "ts": "2026-03-02 10:00:00", "speed": "5"}
    _edited(path, rows)
    cleaned = _replayed(town, path)
    total = cleaned.total()
    assert (total.parsed, total.accepted, dict(total.refused)) == (148, 147, {"between": 1})
    before = FIRST - timedelta(days=1)
    assert {d: c.parsed for d, c in cleaned.days.items()} == {FIRST: 147, before: 1}
    found = {(r["detector"], r["day"], r["speed"]) for r in town.rows("silver") if r["detector"] in "defg"}
    assert found == {("d", FIRST, 77.0), ("e", before, 5.0), ("f", FIRST, 5.0)}


@pytest.mark.slow
def test_corrections_stay_when_the_day_is_made_anew_and_fall_with_their_file(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "refused.csv"
    town.drop(FIRST, [*readings(FIRST), "d,2026-03-02 10:00:00,fast"])
    _clean(town)
    rows = _refused(town, path)
    rows[0]["speed"] = "77"
    _edited(path, rows)
    assert _replayed(town, path).total().accepted == 145
    town.drop(FIRST, ["z,2026-03-02 12:00:00,1"], "late.csv")
    _clean(town)
    assert 77.0 in [r["speed"] for r in town.rows("silver") if r["detector"] == "d"], (
        "a late file does not undo what a person corrected"
    )
    town.drop(FIRST, [*readings(FIRST), "d,2026-03-02 10:00:00,slow"])
    _clean(town)
    assert not [r for r in town.rows("silver") if r["detector"] == "d"], "the corrected file speaks for itself"
    assert len([r for r in town.rows("quarantine") if r["stage"] == "clean"]) == 1


def test_a_record_is_corrected_as_often_as_it_takes_and_keeps_its_number_and_original(
    town: Town, tmp_path: Path
) -> None:
    path = tmp_path / "refused.csv"
    town.drop(FIRST, [*readings(FIRST), "d,2026-03-02 10:00:00,999"])
    _clean(town)
    (number,) = {row["record"] for row in _refused(town, path)}
    for speed, accepted in (("888", 144), ("50", 145), ("60", 145)):
        (row,) = _refused(town, path)
        assert row["record"] == number
        _edited(path, [row | {"speed": speed}])
        assert _replayed(town, path).total().accepted == accepted
        kept = [r for r in town.rows("quarantine") if r["stage"] == "clean"]
        assert all('"999"' in r["original"] and r["record"] == number for r in kept) and len(kept) == 145 - accepted
    assert [r["speed"] for r in town.rows("silver") if r["detector"] == "d"] == [60.0]
    (row,) = _refused(town, path)
    assert (row["rule"], row["speed"]) == ("corrected", "60")
    _edited(path, [row | dict.fromkeys(("detector", "ts", "speed"), "")])
    assert _replayed(town, path).total().accepted == 144, "what is emptied is taken back"
    assert [row["speed"] for row in _refused(town, path)] == ["999"]


def test_what_is_not_edited_stays_as_it_is(town: Town, tmp_path: Path) -> None:
    sets = (
        'source={format: json, path: "${raw}/speeds/{day}/*.json"}',
        "contract.columns.ok={type: bool}",
        "contract.columns.note={type: text}",
    )
    folder, path = town.raw / "speeds" / str(FIRST), tmp_path / "refused.csv"
    folder.mkdir(parents=True)
    record = '{"detector": "d", "ts": "2026-03-02 1%d:00:00", "speed": 999, "ok": true, "note": ""}'
    (folder / "a.json").write_text("\n".join(record % n for n in range(3)))
    _clean(town, sets=(*sets, "clean.max_refused=1.0"))
    rows = _refused(town, path)
    sets = (*sets, "clean.max_refused=1.0")
    assert _replayed(town, path, sets).total().accepted == 0 and not _corrections(town)
    path.write_text(f"record;speed\n{rows[0]['record']};50\n;\n")
    assert _replayed(town, path, sets).total().accepted == 1
    assert len(_corrections(town)) == 1
    (row,) = town.rows("silver")
    assert (row["speed"], row["ok"], row["note"]) == (50.0, True, None)


@pytest.mark.slow
def test_texts_with_line_ends_and_columns_of_the_files_own_names_come_back_as_they_were(
    town: Town, tmp_path: Path
) -> None:
    sets = (
        'source={format: json, path: "${raw}/speeds/{day}/*.json"}',
        "contract.columns.record={type: text}",
        "contract.columns.rule={type: text}",
        "clean.max_refused=1.0",
    )
    folder, path = town.raw / "speeds" / str(FIRST), tmp_path / "refused.csv"
    folder.mkdir(parents=True)
    odd = ["a\r\nb", "a\u2028b\u0085c", "a\x0cb\x1cc"]
    records = [
        {"detector": "d", "ts": f"2026-03-02 1{n}:00:00", "speed": 999, "record": text, "rule": "x"}
        for n, text in enumerate(odd)
    ]
    (folder / "a.json").write_text("\n".join(json.dumps(record) for record in records))
    _clean(town, sets=sets)
    rows = _refused(town, path)
    assert sorted(row["raw_record"] for row in rows) == sorted(odd)
    assert _replayed(town, path, sets).total().accepted == 0 and not _corrections(town)
    _edited(path, [row | {"speed": "50", "raw_rule": "y"} for row in rows])
    assert _replayed(town, path, sets).total().accepted == 3
    assert sorted((row["record"], row["rule"]) for row in town.rows("silver")) == sorted((text, "y") for text in odd)


def _corrections(town: Town) -> list[object]:
    return [row for row in town.rows("quarantine") if row["stage"] == "corrected"]


def test_what_a_person_wrote_wins_over_the_same_key_of_its_file(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "refused.csv"
    town.drop(FIRST, [*readings(FIRST), "a,2026-03-02 10:00:01,999"])
    _clean(town)
    (row,) = _refused(town, path)
    _edited(path, [row | {"ts": "2026-03-02 10:00:00", "speed": "1"}])
    assert _replayed(town, path).total().duplicates == 1
    assert 1.0 in [r["speed"] for r in town.rows("silver")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("record,speed\nffff,7\n", "record ffff is neither refused nor corrected"),
        ("speed\n7\n", "has no column 'record'"),
        ("record,velocity\nffff,7\n", "has column 'velocity', which bronze lacks"),
        ("record,speed\n{0},7\n{0},8\n", "stands twice, first in line 2"),
    ],
)
def test_a_file_of_corrections_that_does_not_fit_is_refused(town: Town, tmp_path: Path, text: str, told: str) -> None:
    town.drop(FIRST, [*readings(FIRST), "d,2026-03-02 10:00:00,fast"])
    _clean(town)
    path = tmp_path / "refused.csv"
    path.write_text(text.format(_refused(town, path)[0]["record"]))
    with pytest.raises(DataRefused, match=told):
        _replayed(town, path)
