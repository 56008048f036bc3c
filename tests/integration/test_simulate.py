"""The simulated city and plant: the same on every run, dirty as the truth says, and worth learning from."""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract_check import check, planted

from nightmill.errors import ConfigError
from nightmill.simulate import DATA_SETS, damage, dirt, simulate
from nightmill.simulate.chance import Chance
from nightmill.simulate.machines import SENSORS, readings
from nightmill.simulate.traffic import speeds

CONF = Path(__file__).parents[2] / "conf"
START, DAYS, SEED = date(2026, 3, 2), 2, 7
SIZES = {"traffic": 10, "air": 8, "noise": 6, "river": 4, "water": 8, "energy": 6, "bikes": 8, "lights": 20}
SIZES |= {"machines": 12, "line": 4, "moulding": 5, "spare_parts": 50, "meters": 6}
ENTITY = {
    "city/traffic": "detector",
    "city/air": "station",
    "city/noise": "station",
    "city/river": "gauge",
    "city/water": "sensor",
    "city/energy": "district",
    "city/calls": "call",
    "city/bikes": "station",
    "city/lights": "lamp",
    "factory/machines": "machine",
    "factory/line": "line",
    "factory/moulding": "press",
    "factory/spare_parts": "part",
    "factory/energy": "meter",
}
FILES = {
    "city/air": "air.json",
    "city/calls": "calls.json",
    "city/noise": "noise.csv.gz",
    "city/river": "river.parquet",
}
FILES |= {"factory/machines": "machines.parquet"}
STATIC = {"city/roads", "city/detectors", "city/lamps", "factory/floor"}


def _file(data_set: str) -> str:
    return FILES.get(data_set, f"{data_set.partition('/')[2]}.csv")


@pytest.fixture(scope="module")
def drops(spark, tmp_path_factory):
    """Two days of everything, small, with more dirt than usual: the raw folder and what `simulate` says about it."""
    raw = tmp_path_factory.mktemp("raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dirt, "LEAST", 3)
        patch.setattr(damage, "RATE", 0.6)
        yield raw, simulate(spark, str(raw), start=START, days=DAYS, seed=SEED, sizes=SIZES)


def _digests(raw: Path) -> dict[str, str]:
    """Files by their place; by content where a footer or a header names the writer's build."""
    found = {}
    for file in sorted(p for p in raw.rglob("*") if p.is_file()):
        content = file.read_bytes()
        if file.suffix == ".parquet" and content.endswith(b"PAR1"):
            content = pd.read_parquet(file).to_csv().encode()
        found[str(file.relative_to(raw))] = hashlib.sha256(content).hexdigest()
    return found


def test_each_day_of_each_data_set_is_one_good_file_and_the_files_too_many_are_in_the_truth(drops):
    raw, simulated = drops
    names = [*(f"{d}/2026-03-0{n}/{_file(d)}" for d in DATA_SETS if d not in STATIC for n in (2, 3))]
    good = {*names, "truth/2026-03-02/dirt.csv", "truth/2026-03-03/dirt.csv"}
    good |= {f"{d}/{_file(d)}" for d in STATIC}
    truth = pd.concat([pd.read_csv(f) for f in raw.glob("truth/*/*")])
    bad = truth[truth["kind"].isin(damage.KINDS)]
    assert set(bad["kind"]) == set(damage.KINDS)
    assert _digests(raw).keys() == good | set(bad["file"])
    assert sorted(simulated.folders) == sorted({str((raw / file).parent) for file in _digests(raw)})
    counted = truth.groupby(["data_set", "kind"]).size()
    assert {(d, k): n for d, kinds in simulated.dirt.items() for k, n in kinds.items()} == dict(counted)
    assert set(truth["kind"]) == {*dirt.KINDS, *damage.KINDS}


def test_files_too_many_are_damaged_as_the_truth_says(drops):
    raw, _ = drops
    truth = pd.concat([pd.read_csv(f) for f in raw.glob("truth/*/*")])
    for _, case in truth[truth["kind"].isin(damage.KINDS)].iterrows():
        file = raw / case["file"]
        good = file.parent / _file(case["data_set"])
        if case["kind"] == "same_file_again":
            assert file.read_bytes() == good.read_bytes()
        elif case["kind"] == "renamed_column":
            written, wanted = (path.read_text().splitlines()[0] for path in (file, good))
            assert written == f"{wanted}_v2"
        else:
            read = {".gz": _unzipped, ".parquet": pq.read_table}.get(file.suffix, Path.read_text)
            with pytest.raises((EOFError, UnicodeDecodeError, pa.ArrowInvalid)):
                read(file)


def _unzipped(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes())


@pytest.mark.parametrize("data_set", ENTITY)
def test_the_contract_finds_all_that_was_planted_and_nothing_else(drops, data_set):
    raw, simulated = drops
    masters = [*(raw / "city/detectors").glob("*.csv"), *(raw / "city/lamps").glob("*.csv")]
    known = {line.split(",")[0] for file in masters for line in file.read_text().splitlines()[1:]}
    files = {START + timedelta(days=n): _file(data_set) for n in range(DAYS)}
    found = check(CONF, raw, data_set, files, ENTITY[data_set], known)
    truth = {kind: cases for kind, cases in planted(raw, data_set).items() if kind not in damage.KINDS}
    assert found.rows == simulated.records[data_set] * (SIZES["water"] if data_set == "city/water" else 1)

    for kind in {*truth, *found.refused} - {"duplicate", "superseded", "correction", "missing_step", "delayed", "late"}:
        wanted, got = truth.get(kind, Counter()), Counter(found.refused[kind])
        if kind in ("malformed", "bad_time", "future_time"):  # their lines tell no time
            assert got.total() == wanted.total(), kind
        else:
            assert got == wanted, kind
    assert Counter(found.duplicates) == truth.get("duplicate", Counter())
    corrections = truth.get("correction", Counter())
    assert set(found.replaced) == {case for case in corrections if case in truth["superseded"]}
    arrived = {*truth.get("late", ()), *corrections} - {*truth.get("delayed", ()), *truth.get("superseded", ())}
    assert arrived <= found.before | set(found.replaced)

    if data_set not in ("city/calls", "city/water"):
        absent = Counter(truth.get("missing_step", ())) + Counter(
            {*truth.get("delayed", ())} - {*truth.get("late", ())}
        )
        assert set(absent) <= found.missing
        moved = sum(truth.get(k, Counter()).total() for k in MOVED)
        assert len(found.missing) == absent.total() + moved


MOVED = ("malformed", "bad_time", "future_time", "unknown_entity", "bad_code")
"""Kinds that leave a record, which no longer says of what step it is."""


@pytest.mark.slow
def test_days_written_alone_or_with_other_partitions_are_the_same(spark, drops, tmp_path):
    raw, _ = drops
    some = ["city/traffic", "city/detectors", "city/air", "city/river", "city/water", "factory/spare_parts"]
    with _partitions(spark, 5):
        simulate(spark, str(tmp_path), start=date(2026, 3, 3), days=1, seed=SEED, sizes=SIZES, only=some)
    wanted = {
        place: digest
        for place, digest in _digests(raw).items()
        if ("/2026-03-03/" in place or "/detectors/" in place) and place.startswith(tuple(some))
    }
    written = _digests(tmp_path)
    written.pop("truth/2026-03-03/dirt.csv")
    assert len(wanted) > len(some) and written == wanted


@pytest.mark.slow
def test_faults_are_in_the_drops_of_their_day_and_in_its_truth(spark, drops, tmp_path):
    raw, day = drops[0], date(2026, 3, 3)
    only, given = ["factory/machines", "factory/failures", "city/traffic"], {"drift": START, "wear": day, "format": day}
    made = simulate(spark, str(tmp_path), start=day, days=1, seed=SEED, sizes=SIZES, only=only, faults=given)
    usual, faulty = _digests(raw), _digests(tmp_path)
    assert faulty.keys() - usual.keys() == {"truth/2026-03-03/faults.csv"}
    truth = pd.read_csv(tmp_path / "truth/2026-03-03/faults.csv")
    assert truth[["kind", "data_set", "since"]].to_numpy().tolist() == [
        ["drift", "city/traffic", "2026-03-02"],
        ["format", "factory/failures", "2026-03-03"],
        ["wear", "factory/machines", "2026-03-03"],
    ]
    assert truth["name"].tolist() == [fault.name for fault in made.faults]

    places = pd.read_csv(raw / "city/detectors/detectors.csv")
    drifting = set(places["detector"][places["district"] == truth["name"][0]])
    lines = [(folder / "city/traffic/2026-03-03/traffic.csv").read_text().splitlines() for folder in (raw, tmp_path)]
    assert len(lines[0]) == len(lines[1])
    changed = {line.split(",")[0].removesuffix("-old") for line in set(lines[0]) ^ set(lines[1])}
    assert changed == drifting != set(places["detector"])
    text = [(folder / "factory/failures/2026-03-03/failures.csv").read_text() for folder in (raw, tmp_path)]
    assert text[1] == text[0].replace("ts,component", "ts,part")
    readings = pd.concat([pd.read_parquet(f / "factory/machines/2026-03-03/machines.parquet") for f in (raw, tmp_path)])
    assert set(readings.drop_duplicates(keep=False)["machine"]) == {truth["name"][2]}


@contextmanager
def _partitions(spark, number):
    """Spark reads and shuffles with that many partitions."""
    names = ("spark.sql.shuffle.partitions", "spark.sql.leafNodeDefaultParallelism")
    before = {name: spark.conf.get(name, None) for name in names}
    try:
        for name in names:
            spark.conf.set(name, number)
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value) if value is not None else spark.conf.unset(name)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"days": 0}, "at least one"),
        ({"days": 1, "sizes": {"traffic": 0}}, "at least one"),
        ({"days": 1, "sizes": {"trafic": 3}}, "did you mean 'traffic'"),
        ({"days": 1, "only": ["city/rivers"]}, "did you mean 'city/river'"),
        ({"days": 1, "faults": {"ware": START}}, "did you mean 'wear'"),
    ],
)
def test_wrong_names_and_sizes_are_refused_before_anything_is_written(spark, tmp_path, wrong, said):
    with pytest.raises(ConfigError) as refused:
        simulate(spark, str(tmp_path / "raw"), start=START, **wrong)
    assert said in str(refused.value)
    assert not (tmp_path / "raw").exists()


def _least_squares(x, y, train):
    weights = np.linalg.lstsq(x[train], y[train], rcond=None)[0]
    return x @ weights


def test_downstream_neighbours_help_a_forecast_that_beats_the_naive_ones(spark):
    rows = speeds(spark, START, 10, 10, Chance(7)).where("weekday(day) < 5").toPandas()
    speed = rows.pivot(index="ts", columns="detector", values="speed").sort_index().to_numpy()
    steps, train_steps = len(speed), 6 * 288
    profile = np.tile(speed[:train_steps].reshape(-1, 288, 10).mean(axis=0), (steps // 288, 1))
    unusual = speed - profile
    origin = np.arange(6, steps - 6)
    train, test = origin + 6 < train_steps, origin >= train_steps
    errors = {"last": [], "profile": [], "alone": [], "neighbours": []}
    for n in range(10 - 2):
        truth = unusual[origin + 6, n]
        past = {k: np.stack([unusual[origin - lag, n + k] for lag in range(6)], axis=1) for k in (0, 1, 2)}
        guesses = {
            "last": speed[origin, n] - profile[origin + 6, n],
            "profile": np.zeros(len(origin)),
            "alone": _least_squares(past[0], truth, train),
            "neighbours": _least_squares(np.hstack([*past.values()]), truth, train),
        }
        for name, guess in guesses.items():
            errors[name].append(np.abs(guess - truth)[test].mean())
    mae = {name: np.mean(values) for name, values in errors.items()}
    assert mae["neighbours"] < 0.85 * min(mae["last"], mae["profile"], mae["alone"]), mae


def test_a_day_of_sensors_tells_more_of_the_remaining_life_than_the_age_does(spark):
    from nightmill.simulate.machines import lives

    count, days = 10, 40
    life = lives(spark, START, days, count, Chance(7)).select("machine", "ts", "life", "remaining")
    rows = readings(spark, START, days, count, Chance(7)).join(life, ["machine", "ts"]).toPandas()
    rows = rows.sort_values(["machine", "ts"], ignore_index=True)
    target = rows["remaining"].clip(upper=120).to_numpy(float)
    age = rows.groupby(["machine", "life"]).cumcount().to_numpy()
    by_machine = rows.groupby("machine")[list(SENSORS)]
    mean = by_machine.transform(lambda s: s.rolling(24, min_periods=1).mean())
    x = np.hstack([mean, by_machine.transform(lambda s: s.rolling(6, min_periods=1).mean()) - mean])
    x = np.hstack([x, x**2, np.ones((len(x), 1))])
    train = (rows["ts"] < rows["ts"].min() + pd.Timedelta("28D")).to_numpy()
    # lives that began before the first day have an unknown age
    fair = ~train & (rows["life"] > rows.groupby("machine")["life"].transform("min")).to_numpy()
    naive = np.clip(228 - age, 0, 120)

    def rmse(guess):
        return float(np.sqrt(np.mean((guess - target)[fair] ** 2)))

    assert rmse(np.clip(_least_squares(x, target, train), 0, 120)) < 0.6 * rmse(naive)
