"""Every trap of the published files is handled by configuration: what silver holds is what the files say."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from nightmill import commands
from nightmill.clean import Counts
from nightmill.commands import Work
from nightmill.config import Configuration

pytestmark = pytest.mark.usefixtures("spark")
Silver = tuple[list[dict[str, Any]], Counts]


@pytest.fixture
def silver(shared_data: Path, tmp_path: Path) -> Callable[..., Silver]:
    """Lands and cleans a data set (and its masters before it), and returns its silver rows and what became of all."""

    def prepared(name: str, *sets: str, before: tuple[str, ...] = ()) -> Silver:
        for one in (*before, name):
            configuration = Configuration.load(raw=str(shared_data), lake=str(tmp_path / "lake"), sets=sets)
            for stage in (commands.land, commands.clean):
                outcome = stage(Work(configuration, stage.__name__), [f"data/{one}"])
                for error in outcome.failures.values():
                    raise error
        total = outcome.results[f"data/{name}"].total()
        assert total.parsed == total.accepted + sum(total.refused.values()) + total.duplicates
        table = Work(configuration, "x").lake.table("silver", name).delta().to_pyarrow_table()
        return table.to_pylist(), total

    return prepared


def lines(path: Path, separator: str = ",") -> list[dict[str, str]]:
    """A csv file as Python reads it."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter=separator, skipinitialspace=True)
    return list(reader)


@pytest.mark.slow
def test_load_runs_backwards_by_blocks_and_autumn_has_its_hour_twice(
    silver: Callable[..., Silver], shared_data: Path
) -> None:
    rows, total = silver("city/energy_pjm")
    written = lines(shared_data / "city/energy_pjm/PJME_hourly.csv")
    assert total.accepted == total.parsed == len(written) == len(rows) == 145_366
    load = {row["ts"]: row["load"] for row in rows}
    eastern = ZoneInfo("America/New_York")
    for at in range(0, len(written), 3571):
        ending = datetime.strptime(written[at]["Datetime"], "%m/%d/%Y %H:%M")
        begin = (ending - timedelta(hours=1)).replace(tzinfo=eastern).astimezone(UTC)
        assert load[begin] == float(written[at]["PJME_MW"]), written[at]
    first, second = (float(w["PJME_MW"]) for w in written if w["Datetime"] == "11/2/2014 2:00")
    assert (load[datetime(2014, 11, 2, 5, tzinfo=UTC)], load[datetime(2014, 11, 2, 6, tzinfo=UTC)]) == (first, second)
    hours = sorted(load)
    missing = sum((b - a) // timedelta(hours=1) - 1 for a, b in zip(hours, hours[1:]))
    assert missing == 25, "12 autumns before 2014 lack both passes, and 10 December 2010 an hour; spring lacks none"


def test_the_row_of_midnight_belongs_to_the_day_that_ends(silver: Callable[..., Silver], shared_data: Path) -> None:
    rows, total = silver("factory/energy_steel")
    written = lines(shared_data / "factory/energy_steel/Steel_industry_data.csv")
    assert total.accepted == total.parsed == len(written) == 35_040
    usage = {row["ts"].astimezone(ZoneInfo("Asia/Seoul")).replace(tzinfo=None): row for row in rows}
    assert sorted(usage) == [datetime(2018, 1, 1) + timedelta(minutes=15 * n) for n in range(35_040)]
    for at in (0, 95, 96, 20_000):  # the 96th quarter-hour of a day says 0:00
        row = usage[datetime(2018, 1, 1) + timedelta(minutes=15 * at)]
        assert row["usage"] == float(written[at]["Usage_kWh"]) and row["co2"] == float(written[at]["CO2(tCO2)"])
    assert written[95]["date"].endswith(" 0:00") and Counter(r["day"] for r in rows) == {
        date(2018, 1, 1) + timedelta(days=n): 96 for n in range(365)
    }


@pytest.mark.slow
def test_blanks_in_names_and_999_for_unknown_are_read(silver: Callable[..., Silver], shared_data: Path) -> None:
    rows, total = silver("city/water_batadal")
    assert total.parsed == 8_761 + 4_177 + 2_089 and sum(total.refused.values()) <= 1
    parts = Counter(row["part"] for row in rows)
    assert parts["dataset04"] == 4_177 and parts["test"] == 2_089
    assert all(row["attack"] is None or row["attack"] in (0.0, 1.0) for row in rows)
    unknown = [row for row in rows if row["part"] == "dataset04" and row["attack"] is None]
    written = lines(shared_data / "city/water_batadal/BATADAL_dataset04.csv")
    assert len(unknown) == sum(line["ATT_FLAG"] == "-999" for line in written) > 3_000
    third = next(r for r in rows if r["part"] == "dataset04" and r["ts"] == datetime(2016, 7, 4, 1, tzinfo=UTC))
    assert (third["L_T1"], third["P_J422"]) == (2.66, 26.15)


def test_wind_is_text_and_na_is_missing(silver: Callable[..., Silver], shared_data: Path) -> None:
    path = "source.path=${raw}/city/air_beijing/PRSA_Data_Changping_*.csv"
    rows, total = silver("city/air_beijing", path)
    (file,) = (shared_data / "city/air_beijing").glob("PRSA_Data_Changping_*.csv")
    written = lines(file)
    assert total.accepted == total.parsed == len(written) == 35_064
    for name, raw in (("pm25", "PM2.5"), ("co", "CO"), ("wind", "wd"), ("temperature", "TEMP")):
        assert sum(row[name] is None for row in rows) == sum(line[raw] == "NA" for line in written)
    first = min(rows, key=lambda row: row["ts"])
    assert (first["ts"], first["pm25"], first["wind"]) == (datetime(2013, 2, 28, 16, tzinfo=UTC), 3.0, "E")


@pytest.mark.slow
def test_absent_hours_of_bikes_stay_absent_and_parts_make_the_total(silver: Callable[..., Silver]) -> None:
    rows, total = silver("city/bikes_capital")
    assert total.accepted == total.parsed == 17_379
    there = {row["ts"] for row in rows}
    first, last = min(there), max(there)
    assert (last - first) // timedelta(hours=1) + 1 - len(there) == 165, (
        "two springs skip an hour, two autumns lack one"
    )
    assert all(row["casual"] + row["registered"] == row["rented"] for row in rows)
    _, broken = silver(
        "city/bikes_capital", "clean.rules=[{relation: casual + registered < rented}]", "clean.max_refused=100%"
    )
    assert broken.refused == {"relation": 17_379}


@pytest.mark.slow
def test_calls_are_counted_by_cell_and_hour_without_doubled_reports(
    silver: Callable[..., Silver], shared_data: Path
) -> None:
    rows, total = silver("city/calls_seattle")
    written = lines(shared_data / "city/calls_seattle/seattle_911_calls_2015.csv.gz")
    unique = {tuple(line.values()) for line in written}
    assert (len(written), len(written) - len(unique)) == (91_067, 782)
    inside, per_day = Counter(), Counter()
    zone = ZoneInfo("America/Los_Angeles")
    for line in (dict(zip(written[0], values)) for values in unique):
        x, y = float(line["Longitude"]), float(line["Latitude"])
        if -122.41 <= x <= -122.25 and 47.5 <= y <= 47.735:
            at = datetime.strptime(line["At.Scene.Time"], "%m/%d/%y %H:%M").replace(tzinfo=zone)
            cell = f"{min(9, int((x + 122.41) / 0.016))}-{min(9, int((y - 47.5) / 0.0235))}"
            inside[cell, at.astimezone(UTC).replace(minute=0)] += 1
            per_day[at.date()] += 1
    assert total.accepted == sum(inside.values()) and total.refused == {"grid": 450}
    days = {day for day, n in per_day.items() if n >= 100}
    assert {row["day"] for row in rows} == days and len(days) < len(per_day), "near-empty days are no quiet days"
    found = {(row["cell"], row["ts"]): row["calls"] for row in rows}
    hours = {day: 23 if day == date(2015, 3, 8) else 25 if day == date(2015, 11, 1) else 24 for day in days}
    assert len(rows) == len(found) == 100 * sum(hours.values())
    near_edges = sum(found[key] != n for key, n in inside.items() if key[1].astimezone(zone).date() in days)
    assert near_edges <= 2, "up to a rounding of a cell's edge"
    assert sum(found.values()) == sum(n for key, n in inside.items() if key[1].astimezone(zone).date() in days)


@pytest.mark.slow
def test_working_days_follow_each_other(silver: Callable[..., Silver], shared_data: Path) -> None:
    rows, total = silver("city/traffic_pemsd7")
    with (shared_data / "city/traffic_pemsd7/V_25.csv").open() as file:
        matrix = list(csv.reader(file))
    assert total.accepted == len(matrix) * 25 == len(rows)
    days = sorted({row["day"] for row in rows})
    assert (days[0], days[-1], len(days)) == (date(2012, 5, 1), date(2012, 6, 29), 44)
    assert all(day.weekday() < 5 for day in days)
    speed = {(row["detector"], row["ts"]): row["speed"] for row in rows}
    monday = datetime(2012, 5, 7, 8, 30, tzinfo=ZoneInfo("America/Los_Angeles")).astimezone(UTC)
    assert speed["7", monday] == float(matrix[4 * 288 + 102][6])


def test_an_edge_that_is_named_twice_has_its_last_length(silver: Callable[..., Silver], shared_data: Path) -> None:
    rows, total = silver("city/sites_pmed")
    wanted: dict[tuple[str, int, int], int] = {}
    for path in (shared_data / "city/sites_pmed").glob("pmed*.txt"):
        for line in path.read_text().splitlines()[1:]:
            if line.strip():
                a, b, length = map(int, line.split())
                wanted[path.stem, min(a, b), max(a, b)] = length
    assert {(r["graph"], r["source"], r["target"]): r["length"] for r in rows} == wanted
    assert total.duplicates == 199


@pytest.mark.slow
def test_all_job_shop_instances_and_their_bounds_are_there(silver: Callable[..., Silver]) -> None:
    rows, total = silver("factory/jobshop_jsplib")
    assert len({row["instance"] for row in rows}) == 162 and total.accepted == total.parsed == 74_686
    first = sorted((r["step"], r["machine"], r["duration"]) for r in rows if r["instance"] == "ft06" and r["job"] == 1)
    assert first == [(1, 2, 1), (2, 0, 3), (3, 1, 6), (4, 3, 7), (5, 5, 3), (6, 4, 6)]
    bounds, _ = silver("factory/jobshop_bounds")
    found = {row["instance"]: row for row in bounds}
    assert (found["ft06"]["optimum"], found["abz8"]["lower"], found["abz8"]["upper"]) == (55, 645, 665)
    assert len(found) == 162 and sum(row["optimum"] is None for row in bounds) == 59


def test_arrays_of_mat_files_are_blocks_of_their_samples(silver: Callable[..., Silver], shared_data: Path) -> None:
    from scipy.io import loadmat

    rows, total = silver("factory/bearing_cwru")
    assert total.refused == {"shape": 10}, "the last block of each recording is shorter"
    kinds = {(row["fault"], row["size"]) for row in rows}
    assert len(kinds) == 10 and ("Normal", None) in kinds
    path = shared_data / "factory/bearing_cwru/12k_Drive_End_Bearing_Fault_Data/OR/007/@6/130@6_0.mat"
    samples = loadmat(path)["X130_DE_time"].ravel()
    (block,) = (row["samples"] for row in rows if (row["recording"], row["block"]) == ("130", 3))
    assert np.array_equal(np.frombuffer(block, "<f8"), samples[4096:6144])


@pytest.mark.slow
def test_images_are_grey_and_labelled_by_their_names(silver: Callable[..., Silver], shared_data: Path) -> None:
    import PIL.Image

    rows, total = silver("factory/steel_surface_neu", "source.path=${raw}/factory/steel_surface_neu/**/*_1[0-4].jpg")
    assert total.accepted == total.parsed == 30
    assert Counter(row["defect"] for row in rows).keys() == {
        "crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches"
    }  # fmt: skip
    (path,) = (shared_data / "factory/steel_surface_neu").rglob("patches_12.jpg")
    with PIL.Image.open(path) as picture:
        wanted = picture.convert("L").tobytes()
    assert next(row["pixels"] for row in rows if row["image"] == "patches_12") == wanted
    boxes, _ = silver("factory/steel_surface_boxes", "source.path=${raw}/factory/steel_surface_neu/**/*_1[0-4].xml")
    assert {row["image"] for row in boxes} == {row["image"] for row in rows}
    assert all(row["image"].startswith(row["label"]) for row in boxes)


def test_labels_may_be_absent_from_a_file_and_folders_name_series(silver: Callable[..., Silver]) -> None:
    rows, total = silver("factory/waterloop_skab", "source.path=${raw}/factory/waterloop_skab/data/[av]*/*.csv")
    assert total.accepted == total.parsed
    labelled = {row["series"]: row["anomaly"] is not None for row in rows}
    assert labelled == {"anomaly-free": False, "valve1": True, "valve2": True}
    assert len({(row["series"], row["run"]) for row in rows}) == 21


def test_a_fleets_failures_are_of_known_machines(silver: Callable[..., Silver]) -> None:
    rows, total = silver("factory/fleet_failures", before=("factory/fleet_machines",))
    assert total.accepted == total.parsed == 761
    assert {row["component"] for row in rows} == {f"comp{n}" for n in range(1, 5)}


@pytest.mark.slow
def test_months_follow_each_other_and_parts_keep_their_numbers(
    silver: Callable[..., Silver], shared_data: Path
) -> None:
    rows, total = silver("factory/carparts")
    lines = (shared_data / "factory/spareparts_carparts/carparts.csv").read_text().splitlines()[1:]
    cells = [cell for line in lines for cell in line.split(",")[1:]]
    assert len(cells) == 2_674 * 51
    assert total.accepted == total.parsed == len(cells), "an empty cell is a record without a value"
    assert sum(row["demand"] is not None for row in rows) == sum(cell != "" for cell in cells)
    months = sorted({row["day"] for row in rows})
    assert (months[0], months[-1], len(months)) == (date(1998, 1, 1), date(2002, 3, 1), 51)
    complete = Counter(row["part"] for row in rows if row["demand"] is not None)
    assert sum(n == 51 for n in complete.values()) == 2_509


def test_kelvin_becomes_celsius(silver: Callable[..., Silver], shared_data: Path) -> None:
    rows, _ = silver("factory/milling_ai4i")
    written = lines(shared_data / "factory/milling_ai4i/ai4i2020.csv")
    by_part = {row["part"]: row for row in rows}
    for line in written[::997]:
        row = by_part[int(line["UDI"])]
        assert row["air_temperature"] == pytest.approx(float(line["Air temperature [K]"]) - 273.15, abs=1e-9)
        assert (row["product"], row["torque"]) == (line["Product ID"], float(line["Torque [Nm]"]))


def test_networks_are_referred_to_by_place_and_content(silver: Callable[..., Silver], shared_data: Path) -> None:
    import hashlib

    rows, _ = silver("city/signals_resco")
    assert {(row["network"], row["part"]) for row in rows} == {
        (network, part) for network in ("cologne1", "cologne3", "ingolstadt1") for part in ("net", "rou", "sumocfg")
    }
    for row in rows:
        content = (shared_data / row["path"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
