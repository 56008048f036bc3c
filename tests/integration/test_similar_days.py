"""What a column usually is on days like the one in question, against a plain count in NumPy."""

from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pyspark.sql import SparkSession
from town import Town, found

from nightmill.errors import ConfigError

ZONE = ZoneInfo("Europe/Berlin")
DAYS = [date(2025, 10, 15) + timedelta(days=n) for n in range(24)]
HOLIDAYS = {date(2025, 11, 1)}  # All Saints' Day, of Bavaria and others; clocks were changed on 26 October
USE_CASE = """
title: Speed a day ahead
task: forecast
inputs: {speed: data/town/speeds}
target: {column: speed, horizon: 24}
features:
  - columns: [speed]
  - similar_days: {of: speed, days: 3, within: 14 d, alike: [mon-fri, sat, sun holiday], ahead: 1 d}
  - similar_days: {of: speed, days: 2, within: 9 d, alike: [tue-thu sat], take: mean}
model: {family: stid, window: 24, guess: speed_similar_1d_ahead}
train: {workers: 0}
"""


def town(folder: Path) -> Town:
    made = found(folder)
    data_set = folder / "conf/data/town/speeds.yaml"
    time = "time: {column: ts, zone: Europe/Berlin, every: 1 h, holidays: DE-BY}"
    lines = [f"  {time}" if "time:" in line else line for line in data_set.read_text().splitlines()]
    data_set.write_text("\n".join(lines) + "\n")
    (folder / "conf/town/speeds.yaml").write_text(USE_CASE)
    draws = np.random.default_rng(3)
    for day in DAYS:
        hours = {datetime(day.year, day.month, day.day, hour) for hour in range(24)}
        lines = [
            f"{detector},{hour:%Y-%m-%d %H:%M:%S},{draws.uniform(20, 80):.3f}"
            for detector in "ab"
            for hour in sorted(hours)
            if draws.uniform() > 0.1
        ]
        made.drop(day, lines)
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Town:
    one = town(tmp_path_factory.mktemp("similar"))
    one.stages("land", "clean", "features", days=tuple(DAYS))
    return one


def sort_of(at: datetime, groups: list[set[str]]) -> int | None:
    local = at.astimezone(ZONE)
    name = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][local.weekday()]
    if local.date() in HOLIDAYS and any("holiday" in group for group in groups):
        name = "holiday"
    return next((number for number, group in enumerate(groups) if name in group), None)


def test_it_is_the_middle_of_the_last_known_days_of_the_sort(made: Town) -> None:
    weekdays = {"mon", "tue", "wed", "thu", "fri"}
    cases = [
        ("speed_similar_1d_ahead", 3, 14, [weekdays, {"sat"}, {"sun", "holiday"}], timedelta(days=1), np.median),
        ("speed_similar", 2, 9, [{"tue", "wed", "thu", "sat"}], timedelta(0), np.mean),
    ]
    rows, checked, nothing = made.table("gold").to_pylist(), 0, 0
    for name, days, within, groups, ahead, middle in cases:
        for row in rows:
            then = (row["ts"] + ahead).astimezone(ZONE)
            known = sorted(
                (other["ts"], other["speed"])
                for other in rows
                if other["entity"] == row["entity"]
                and row["ts"] - timedelta(days=within) < other["ts"] <= row["ts"]
                and other["speed"] is not None
                and sort_of(other["ts"], groups) == sort_of(then, groups) is not None
                and other["ts"].astimezone(ZONE).time() == then.time()
            )
            values = [value for _, value in known][-days:]
            if values:
                assert row[name] == pytest.approx(middle(values), rel=1e-6), (name, row["ts"])
            else:
                assert row[name] is None
            checked, nothing = checked + bool(values), nothing + (not values)
    assert checked > 1000 and nothing > 50


def test_nights_one_by_one_make_what_one_run_makes(made: Town, tmp_path: Path) -> None:
    other = town(tmp_path)
    for days in (DAYS[:20], DAYS[20:22], DAYS[22:]):
        other.stages("land", "clean", "features", days=tuple(days))
    assert other.rows("gold") == made.rows("gold")


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("mon-fri, sat,", "mon-fry, sat,", "'mon-fry' is no day"),
        ("mon-fri, sat,", "mon-fri sat, sat,", "alike names sat twice"),
        ("guess: speed_similar_1d_ahead", "guess: speed_similar", "'speed_similar' is no feature that looks ahead"),
        ("window: 24, guess", "window: 12, guess", "model.guess needs a window of 24 rows"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(tmp_path: Path, wrong: str, right: str, said: str) -> None:
    made = found(tmp_path)
    (tmp_path / "conf/town/speeds.yaml").write_text(USE_CASE.replace(wrong, right))
    with pytest.raises(ConfigError, match=said):
        made.configuration().use_case("town/speeds")
