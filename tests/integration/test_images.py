"""Images from files to predictions, and whether a model looks at what people marked."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyspark.sql import SparkSession
from town import Town, found

from nightmill import commands
from nightmill.errors import ConfigError

pytestmark = pytest.mark.usefixtures("spark")
SIDE = 64
PHOTOS = """
title: Photos of surfaces
source:
  format: files
  path: "${raw}/photos/*.png"
  parser: {image: {mode: grey}}
  file_name: "(?P<photo>(?P<state>[a-z]+)\\\\d+)\\\\.png$"
contract:
  key: [photo]
  columns:
    state: {type: text, one_of: [good, bad], required: true}
    pixels: {type: array, of: uint8, shape: [64, 64], required: true}
clean: {max_refused: 50 %}
"""
MARKS = """
title: Marks in photos
source: {format: csv, path: "${raw}/marks.csv"}
contract:
  key: [photo, mark]
  columns: {xmin: {}, ymin: {}, xmax: {}, ymax: {}}
"""
SURFACE = """
title: Which surfaces are bad
task: classify
inputs: {photos: data/town/photos, marks: {from: data/town/marks, as: boxes}}
target: {column: state, classes: [good, bad]}
features: [array: pixels]
model: {family: efficientnet, dropout: 0 %}
train: {epochs: 30, workers: 0, batch: 16, loss: cross_entropy, learning_rate: 0.01, freeze: ["backbone.*"]}
evaluate:
  split: {folds: {count: 3}}
  metrics: [accuracy]
  baselines: [most_frequent]
  seeds: 1
"""


PLATES = """
title: Photos of plates, of which few are scratched
source:
  format: files
  path: "${raw}/plates/*.png"
  parser: {image: {mode: grey}}
  file_name: "(?P<plate>\\\\d+)_(?P<scratched>[01])\\\\.png$"
contract:
  key: [plate]
  columns:
    scratched: {type: int, unit: "1", between: [0, 1]}
    pixels: {type: array, of: uint8, shape: [64, 64], required: true}
"""
ODD = """
title: Which plates are unlike good ones
task: detect
inputs: {plates: data/town/plates}
target: {column: scratched}
features: [array: pixels]
model: {family: patchcore, memory: 200}
train: {workers: 0, loss: residual}
evaluate: {split: {folds: {count: 3}}, metrics: [f1, false_alarm_rate], baselines: [always], seeds: 1}
"""


def _photo(random: np.random.Generator, bad: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels, and the place of the mark that it has where it is bad."""
    pixels, (row, column) = random.normal(120, 4, (SIDE, SIDE)), random.integers(2, SIDE - 26, 2)
    if bad:
        pixels[row : row + 24, column : column + 24] += 90 * (np.indices((24, 24)).sum(axis=0) % 6 < 3)
    return np.clip(pixels, 0, 255).astype(np.uint8), (row, column)


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Town:
    town = found(tmp_path_factory.mktemp("mill"))
    conf, random, marks = town.folder / "conf", np.random.default_rng(7), ["photo,mark,xmin,ymin,xmax,ymax"]
    for name, text in {"data/town/photos": PHOTOS, "data/town/marks": MARKS, "town/surface": SURFACE}.items():
        (conf / f"{name}.yaml").write_text(text)
    (town.raw / "photos").mkdir()
    for number in range(60):
        bad = number % 2
        pixels, (row, column) = _photo(random, bool(bad))
        if bad:
            marks.append(f"bad{number},1,{column + 1},{row + 1},{column + 24},{row + 24}")
        Image.fromarray(pixels).save(town.raw / "photos" / f"{'bad' if bad else 'good'}{number}.png")
    (town.raw / "photos" / "bad99.png").write_bytes(b"\x89PNG broken")
    (town.raw / "marks.csv").write_text("\n".join(marks) + "\n")
    for stage in (commands.land, commands.clean, commands.features):
        for error in stage(town.work(stage.__name__), ["town/surface"]).failures.values():
            raise error
    return town


def test_pixels_lie_in_gold_as_they_were_and_a_broken_image_is_kept_apart(mill: Town) -> None:
    rows = mill.table("gold", "town/surface").to_pylist()
    assert len(rows) == 60
    for row in rows:
        with Image.open(mill.raw / "photos" / f"{row['entity']}.png") as image:
            assert row["pixels"] == image.tobytes()
    refused = mill.table("quarantine", "town/photos").to_pylist()
    assert len(refused) == 1 and "bad99" in str(refused[0])


def test_few_images_are_enough_and_the_model_looks_at_what_is_marked(mill: Town) -> None:
    outcome = commands.backtest(mill.work("backtest"), ["town/surface"], lambda _: None)
    assert not outcome.failures
    table = outcome.results["town/surface"]
    assert table.test_samples == 60
    assert table.figure("model", "accuracy") > 0.9 > table.figure("most_frequent", "accuracy")
    assert table.figure("model", "heat map meets a box") > 0.4  # a mark covers 14 % of an image


def test_boxes_need_their_edges_and_a_family_that_shows_where_it_looks(mill: Town) -> None:
    for said, sets in {
        "has no column 'photo'": ("inputs.marks={from: data/town/speeds, as: boxes}",),
        "boxes judge heat maps": ("model={family: wdcnn}", "train.freeze=[]"),
    }.items():
        with pytest.raises(ConfigError, match=said):
            configuration = mill.configuration(*sets)
            configuration.inputs(configuration.use_case("town/surface"))


def test_freezing_needs_weights_that_mean_something(mill: Town) -> None:
    with pytest.raises(ConfigError, match="a family that is pretrained"):
        mill.configuration("model={family: wdcnn}", "inputs={photos: data/town/photos}").use_case("town/surface")


def test_a_night_scores_images(mill: Town) -> None:
    for stage, more in ((commands.train, (lambda _: None,)), (commands.evaluate, ()), (commands.score, ())):
        for error in stage(mill.work(stage.__name__), ["town/surface"], *more).failures.values():
            raise error
    said = mill.table("predictions", "town/surface").to_pylist()
    assert len(said) == 60
    assert np.mean([row["entity"].startswith(row["label"]) for row in said]) > 0.9


def test_defects_are_found_that_none_was_kept_of(tmp_path: Path, spark: SparkSession) -> None:
    town, random = found(tmp_path), np.random.default_rng(3)
    (town.folder / "conf/data/town/plates.yaml").write_text(PLATES)
    (town.folder / "conf/town/odd.yaml").write_text(ODD)
    (town.raw / "plates").mkdir()
    for number in range(90):
        bad = number % 6 == 5
        Image.fromarray(_photo(random, bad)[0]).save(town.raw / "plates" / f"{number}_{int(bad)}.png")
    for stage in (commands.land, commands.clean, commands.features):
        assert not stage(town.work(stage.__name__), ["town/odd"]).failures
    table = commands.backtest(town.work("backtest"), ["town/odd"], lambda _: None).results["town/odd"]
    assert table.figure("model", "f1") > 0.8 > 0.4 > table.figure("always", "f1")
    assert table.figure("model", "false_alarm_rate") < 0.2

    for stage, more in ((commands.train, (lambda _: None,)), (commands.evaluate, ()), (commands.score, ())):
        assert not stage(town.work(stage.__name__), ["town/odd"], *more).failures
    said = town.table("predictions", "town/odd").to_pylist()
    assert len(said) == 90 and {row["target"] for row in said} == {"scratched"}
    assert np.mean([(row["label"] == "alarm") == (int(row["entity"]) % 6 == 5) for row in said]) > 0.85
