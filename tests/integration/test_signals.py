"""Waveforms and images from files to predictions: what is worked out from them, and models that see them."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from scipy import signal, stats
from scipy.io import savemat
from town import FIRST, Town, found

from nightmill import commands
from nightmill.errors import ConfigError

pytestmark = pytest.mark.usefixtures("spark")
RATE, SIZE, SPEED = 1000.0, 256, 50.0
VIBRATION = """
title: Vibration, a second every three hours
source:
  format: files
  path: "${raw}/vibration/{day}/*.mat"
  parser: {mat: {variables: samples, block: 256}}
  file_name: "(?P<machine>m\\\\d)_(?P<at>\\\\d+T\\\\d+)_(?P<state>ok|worn)\\\\.mat$"
contract:
  key: [machine, ts]
  time: {column: ts, from: at, format: "yyyyMMdd'T'HH", every: 3 h, zone: UTC}
  columns:
    state: {type: text, one_of: [ok, worn], required: true}
    samples: {type: array, of: float64, shape: [256], required: true}
clean: {max_refused: 50 %}
"""
FIGURES = """
title: What vibration says
task: classify
inputs: {vibration: data/town/vibration}
target: {column: state, classes: [ok, worn]}
features:
  - waveform: {of: samples, take: [rms, peak, crest, kurtosis, skewness]}
  - spectrum: {of: samples, rate: 1000, bands: 6}
  - spectrum: {of: samples, rate: 1000, envelope: true, bands: 0, orders: [0.5, 2, 9], speed: 50}
model: {family: mlp, window: 1, recent: 1, hidden: 8}
train: {epochs: 20, workers: 0, batch: 16, loss: cross_entropy, learning_rate: 0.02}
evaluate:
  split: {start: {rows: 50 %, validation: 20 %}}
  metrics: [accuracy]
  baselines: [most_frequent]
  seeds: 1
"""
HEARD = (
    FIGURES[: FIGURES.index("features:")]
    + """
features:
  - array: samples
model: {family: wdcnn, kernel: 16, stride: 4, hidden: 8, layers: 3}
train:
  epochs: 12
  workers: 0
  batch: 16
  loss: cross_entropy
  learning_rate: 0.01
  augment: [roll, {noise: {between: [0, 20], share: 50 %}}, {scale: 20 %}]
score: {origins: each}
"""
    + FIGURES[FIGURES.index("evaluate:") :]
)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]


def _waveform(random: np.random.Generator, worn: bool) -> NDArray[np.float64]:
    """Noise, and of a worn machine bursts of 200 Hz, 25 a second."""
    time = np.arange(SIZE) / RATE
    bursts = (1 + np.cos(2 * np.pi * 25 * time)) * np.sin(2 * np.pi * 200 * time)
    found: NDArray[np.float64] = random.normal(0.3, 0.2, SIZE) + worn * bursts
    return found


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Town:
    town = found(tmp_path_factory.mktemp("plant"))
    conf = town.folder / "conf"
    (conf / "data/town/vibration.yaml").write_text(VIBRATION)
    (conf / "town/figures.yaml").write_text(FIGURES)
    (conf / "town/heard.yaml").write_text(HEARD)
    random = np.random.default_rng(5)
    for day in DAYS:
        folder = town.raw / "vibration" / day.isoformat()
        folder.mkdir(parents=True)
        for number in range(4):
            for hour in range(0, 24, 3):
                worn = (number + hour // 3 + day.day) % 3 == 0
                name = f"m{number}_{day:%Y%m%d}T{hour:02}_{'worn' if worn else 'ok'}.mat"
                savemat(folder / name, {"samples": _waveform(random, worn)})
    savemat(town.raw / "vibration" / DAYS[0].isoformat() / f"m9_{DAYS[0]:%Y%m%d}T00_ok.mat", {"samples": np.zeros(0)})
    for name in ("figures", "heard"):
        for stage in (commands.land, commands.clean, commands.features):
            for error in stage(town.work(stage.__name__, *DAYS), [f"town/{name}"]).failures.values():
                raise error
    return town


def _samples(town: Town) -> dict[tuple[str, Any], NDArray[np.float64]]:
    rows = town.table("silver", "town/vibration").to_pylist()
    return {(row["machine"], row["ts"]): np.frombuffer(row["samples"], "<f8") for row in rows}


def test_figures_of_waveforms_are_those_of_numpy_and_scipy(plant: Town) -> None:
    waveforms, rows = _samples(plant), plant.table("gold", "town/figures").to_pylist()
    assert len(rows) == len(waveforms) == 128  # the empty one is in quarantine
    for row in rows:
        x = waveforms[row["entity"], row["ts"]]
        moved = x - x.mean()
        rms, peak = np.sqrt(np.mean(moved**2)), np.max(np.abs(moved))
        frequency, power = signal.periodogram(x, RATE, "hann", detrend="constant")
        power[-1] *= 2  # scipy does not double the last, which has no mirror image
        edges = np.geomspace(frequency[1], frequency[-1] * (1 + 1e-9), 7)
        bands = [power[(frequency >= low) & (frequency < high)].mean() for low, high in zip(edges, edges[1:])]
        envelope = np.abs(signal.hilbert(moved))
        _, of_envelope = signal.periodogram(envelope, RATE, "hann", detrend="constant")
        orders = [
            of_envelope[np.abs(frequency - order * SPEED) <= max(0.02 * order * SPEED, frequency[1])].max()
            if order * SPEED <= RATE / 2
            else None
            for order in (0.5, 2, 9)
        ]
        wanted = {
            "samples_rms": rms,
            "samples_peak": peak,
            "samples_crest": peak / rms,
            "samples_kurtosis": stats.kurtosis(x, fisher=False),
            "samples_skewness": stats.skew(x),
            **{f"samples_band{n}": np.log10(band) for n, band in enumerate(bands, start=1)},
            **{f"samples_envelope_order{o:g}": p and np.log10(p) for o, p in zip((0.5, 2, 9), orders)},
        }
        for name, value in wanted.items():
            assert (row[name] is None) == (value is None), name
            assert value is None or row[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_an_array_lies_in_gold_as_bytes_of_float32(plant: Town) -> None:
    waveforms, rows = _samples(plant), plant.table("gold", "town/heard").to_pylist()
    assert len(rows) == 128
    for row in rows:
        assert (np.frombuffer(row["samples"], "<f4") == waveforms[row["entity"], row["ts"]].astype("f4")).all()


def test_an_empty_waveform_is_kept_with_its_reason(plant: Town) -> None:
    refused = plant.table("quarantine", "town/vibration").to_pylist()
    assert len(refused) == 1
    assert "m9_" in str(refused[0])


@pytest.mark.parametrize("name", ["figures", "heard"])
def test_a_backtest_tells_worn_machines_and_how_that_stands_noise(plant: Town, name: str) -> None:
    found = commands.backtest(plant.work("backtest", *DAYS), [f"town/{name}"], lambda _: None)
    assert not found.failures
    table = found.results[f"town/{name}"]
    assert table.figure("model", "accuracy") > 0.9 > table.figure("most_frequent", "accuracy")
    assert table.stress["as it is"] == pytest.approx([table.figure("model", "accuracy")])
    assert table.stress["noise of 20 dB"][0] > 0.85
    assert ("5% of the values missing" in table.stress) == (name == "figures") == bool(table.levers)
    assert "| noise of 0 dB |" in table.to_markdown()


def test_a_night_predicts_from_waveforms(plant: Town) -> None:
    for stage, more in ((commands.train, (lambda _: None,)), (commands.evaluate, ()), (commands.score, ())):
        days = DAYS[-1:] if stage is commands.score else ()
        for error in stage(plant.work(stage.__name__, *days), ["town/heard"], *more).failures.values():
            raise error
    said = plant.table("predictions", "town/heard").to_pylist()
    truth = {(r["machine"], r["ts"]): r["state"] for r in plant.table("silver", "town/vibration").to_pylist()}
    assert len(said) == 32
    assert np.mean([row["label"] == truth[row["entity"], row["ts"]] for row in said]) > 0.9
    assert all(0.5 <= row["score"] <= 1 for row in said)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("features=[{columns: [samples]}]", "'samples' of town/vibration is an array"),
        ("features=[{waveform: machine}]", "'machine' of town/vibration is no array"),
        ("features=[{array: samples}]", "model family mlp does not see an array"),
        ("features=[{spectrum: {of: samples, rate: 1000, orders: [2]}}]", "orders and speed need each other"),
        ("train.augment=[roll]", "train.augment is for arrays"),
    ],
)
def test_what_does_not_fit_is_refused(plant: Town, sets: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration = plant.configuration(sets)
        configuration.inputs(configuration.use_case("town/figures"))
    assert said in str(caught.value)
