"""The simulated city and plant: the same on every run, dirty as the truth says, and worth learning from."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightmill.config import Configuration
from nightmill.errors import ConfigError
from nightmill.simulate import dirt, simulate
from nightmill.simulate.chance import Chance
from nightmill.simulate.machines import SENSORS, readings
from nightmill.simulate.traffic import speeds

START, DAYS, DETECTORS, MACHINES = date(2026, 3, 2), 3, 10, 12
SIZE = {"detectors": DETECTORS, "machines": MACHINES, "seed": 7}


@pytest.fixture(scope="module")
def drops(spark, tmp_path_factory):
    """Three simulated days: the raw folder and what `simulate` says about it."""
    raw = tmp_path_factory.mktemp("raw")
    return raw, simulate(spark, str(raw), start=START, days=DAYS, **SIZE)


def _digests(raw: Path) -> dict[str, str]:
    """Files by their place; Parquet by content, because its footer names the writer's build."""
    found = {}
    for file in sorted(p for p in raw.rglob("*") if p.is_file()):
        parquet = file.suffix == ".parquet"
        content = pd.read_parquet(file).to_csv().encode() if parquet else file.read_bytes()
        found[str(file.relative_to(raw))] = hashlib.sha256(content).hexdigest()
    return found


def test_the_drops_are_where_the_data_sets_look_for_them(drops):
    raw, simulated = drops
    days = ["2026-03-02", "2026-03-03", "2026-03-04"]
    places = {"city/traffic": "traffic.csv", "factory/machines": "machines.parquet", "factory/failures": "failures.csv"}
    files = {f"{name}/{day}/{file}" for name, file in [*places.items(), ("truth", "dirt.csv")] for day in days}
    assert _digests(raw).keys() == files | {"city/roads/roads.csv"}
    assert sorted(simulated.folders) == sorted({str((raw / file).parent) for file in _digests(raw)})
    configuration = Configuration.load(raw=str(raw))
    for name in ("city/traffic", "factory/machine_life"):
        for data_set in configuration.inputs(configuration.use_case(name)).values():
            pattern = data_set.source.path.replace("${raw}/", "").replace("{day}", "*")
            assert list(raw.glob(pattern)), data_set.name


def test_days_written_alone_or_again_with_other_partitions_are_the_same(spark, drops, tmp_path):
    raw, _ = drops
    wanted = _digests(raw)
    with _partitions(spark, 1):
        simulate(spark, str(tmp_path), start=date(2026, 3, 3), days=1, **SIZE)
    of_the_day = {place: digest for place, digest in wanted.items() if "/2026-03-03/" in place or "/roads/" in place}
    assert len(of_the_day) == 5 and _digests(tmp_path) == of_the_day
    with _partitions(spark, 5):
        simulate(spark, str(tmp_path), start=START, days=DAYS, **SIZE)
    assert _digests(tmp_path) == wanted


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


def test_counts_are_those_of_the_files(drops):
    raw, simulated = drops
    sizes = {
        "city/traffic": sum(len(pd.read_csv(f)) for f in raw.glob("city/traffic/*/*")),
        "factory/machines": sum(len(pd.read_parquet(f)) for f in raw.glob("factory/machines/*/*")),
        "factory/failures": sum(len(pd.read_csv(f)) for f in raw.glob("factory/failures/*/*")),
    }
    assert simulated.records == sizes
    truth = pd.concat([pd.read_csv(f) for f in raw.glob("truth/*/*")])
    counted = truth.groupby(["data_set", "kind"]).size()
    assert {(d, k): n for d, kinds in simulated.dirt.items() for k, n in kinds.items()} == dict(counted)


def _found(written: pd.DataFrame, clean: pd.DataFrame, day: str, is_range) -> Counter:
    """(kind, entity, ts) of one drop, told from the clean rows alone: columns entity, ts, value."""
    known = {(e, t): v for e, t, v in clean[["entity", "ts", "value"]].itertuples(index=False)}
    local = {(e, t) for e, t, d in clean[["entity", "ts", "day"]].itertuples(index=False) if str(d) == day}
    found, seen = Counter(), Counter()
    for entity, ts, value in written[["entity", "ts", "value"]].itertuples(index=False):
        key = entity, ts
        seen[key] += 1
        if key not in local:
            found["of the day before", *key] += 1
            assert value == known[key]
        elif seen[key] > 1:
            found["duplicate", *key] += 1
        elif value is None:
            found["missing_value", *key] += 1
        elif value == "err":
            found["not_a_number", *key] += 1
        elif not is_range(float(value)):
            found["out_of_range", *key] += 1
        elif value != known[key]:
            found["superseded", *key] += 1
    for key in local - seen.keys():
        found["absent", *key] += 1
    return found


MERGED = {"late": "of the day before", "correction": "of the day before", "missing_step": "absent", "delayed": "absent"}


def _planted(raw: Path, day: str, data_set: str, file: str) -> Counter:
    truth = pd.read_csv(raw / "truth" / day / "dirt.csv")
    truth = truth[truth["data_set"] == data_set]
    assert set(truth["file"]) <= {f"{data_set}/{day}/{file}"}
    rows = truth[["kind", "entity", "ts"]].itertuples(index=False)
    return Counter((MERGED.get(kind, kind), entity, ts) for kind, entity, ts in rows)


def test_the_dirt_in_the_traffic_drops_is_exactly_what_the_truth_names(spark, drops):
    raw, simulated = drops
    clean = speeds(spark, date(2026, 3, 1), DAYS + 1, DETECTORS, Chance(7)).selectExpr(
        "detector AS entity",
        "date_format(ts, \"yyyy-MM-dd'T'HH:mm:ss'Z'\") AS ts",
        "day",
        "format_string('%.1f', speed) AS value",
    )
    clean = clean.toPandas()
    for day in ("2026-03-02", "2026-03-03", "2026-03-04"):
        written = pd.read_csv(raw / "city/traffic" / day / "traffic.csv", dtype=str)
        utc = pd.to_datetime(written["ts"]).dt.tz_localize("Europe/Berlin").dt.tz_convert("UTC")
        written = written.assign(ts=utc.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), entity=written["detector"])
        written["value"] = written["speed"].astype(object).where(written["speed"].notna(), None)
        found = _found(written, clean, day, lambda speed: 0 <= speed <= 200)
        assert found == _planted(raw, day, "city/traffic", "traffic.csv")
    assert set(simulated.dirt["city/traffic"]) == set(dirt.KINDS)


def test_the_dirt_in_the_machine_drops_is_exactly_what_the_truth_names(spark, drops):
    raw, _ = drops
    clean = readings(spark, date(2026, 3, 1), DAYS + 1, MACHINES, Chance(7)).selectExpr(
        "machine AS entity", "date_format(ts, \"yyyy-MM-dd'T'HH:mm:ss'Z'\") AS ts", "day", "temperature AS value"
    )
    clean = clean.toPandas()
    for day in ("2026-03-02", "2026-03-03", "2026-03-04"):
        written = pd.read_parquet(raw / "factory/machines" / day / "machines.parquet")
        ts = pd.to_datetime(written["ts"], utc=True).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        written = written.assign(ts=ts, entity=written["machine"], value=written["temperature"].astype(object))
        written["value"] = written["value"].where(written["temperature"].notna(), None)
        found = _found(written, clean, day, lambda value: 0 <= value <= 150)
        assert found == _planted(raw, day, "factory/machines", "machines.parquet")


def test_sizes_below_one_are_refused_before_anything_is_written(spark, tmp_path):
    for wrong in ({"days": 0}, {"days": 1, "detectors": 0}, {"days": 1, "machines": -1}):
        with pytest.raises(ConfigError, match="at least one"):
            simulate(spark, str(tmp_path / "raw"), start=START, **wrong)
    assert not (tmp_path / "raw").exists()


def _least_squares(x, y, train):
    weights = np.linalg.lstsq(x[train], y[train], rcond=None)[0]
    return x @ weights


def test_downstream_neighbours_help_a_forecast_that_beats_the_naive_ones(spark):
    rows = speeds(spark, START, 10, DETECTORS, Chance(7)).where("weekday(day) < 5").toPandas()
    speed = rows.pivot(index="ts", columns="detector", values="speed").sort_index().to_numpy()
    steps, train_steps = len(speed), 6 * 288
    profile = np.tile(speed[:train_steps].reshape(-1, 288, DETECTORS).mean(axis=0), (steps // 288, 1))
    unusual = speed - profile
    origin = np.arange(6, steps - 6)
    train, test = origin + 6 < train_steps, origin >= train_steps
    errors = {"last": [], "profile": [], "alone": [], "neighbours": []}
    for n in range(DETECTORS - 2):
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
    from nightmill.simulate.machines import _lives

    count, days = 10, 40
    life = _lives(spark, START, days, count, Chance(7)).select("machine", "ts", "life", "remaining")
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
