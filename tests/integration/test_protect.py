"""Personal columns never reach the lake as they were delivered."""

import json
import logging

import numpy as np
import pytest
from PIL import Image
from town import FIRST, Town

from nightmill.commands import clean, land
from nightmill.errors import ConfigError
from nightmill.lake.ops import SCHEMAS, events
from nightmill.privacy import KEY, pixelated, pseudonym

pytestmark = pytest.mark.usefixtures("spark")
TARGET = "data/town/speeds"
SECRET = "a long random text of a test"
HEADER = "detector,ts,speed,driver,plate,lat"
SETS = (
    "contract.columns.driver={type: text, personal: pseudonym}",
    "contract.columns.plate={type: text, personal: remove}",
    "contract.columns.lat={type: float, unit: degree, blur: 0.01}",
)


def _run(town: Town, sets: tuple[str, ...] = SETS) -> None:
    for command, days in ((land, [FIRST]), (clean, [])):
        outcome = command(town.work(command.__name__, *days, sets=sets), [TARGET])
        for error in outcome.failures.values():
            raise error


def test_pseudonyms_join_what_is_removed_is_gone_and_places_are_coarse(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    caplog.set_level(logging.INFO)
    lines = [
        "a,2026-03-02 00:00:00,50,Ada Lovelace,B-AL 1815,52.523403",
        "b,2026-03-02 00:00:00,60, Ada Lovelace ,B-AL 1815,52.4761",
        "c,2026-03-02 00:00:00,70,,,",
        "c,2026-03-02 00:30:00,fast,Alan Turing,B-AT 1912,52.523403",
        "c,2026-03-02 01:00:00,80,Alan Turing,B-AT 1912,52.523403,one,too,many",
        "c,2026-03-02 01:30:00,90,Alan Turing,B-AT 1912,Alexanderplatz 1",
    ]
    town.drop(FIRST, lines, header=HEADER)
    _run(town)
    said = {layer: town.rows(layer) for layer in ("bronze", "silver", "quarantine")}
    said |= {f"ops/{name}": events(town.work("x").lake, name) for name in SCHEMAS} | {"the log": [caplog.text]}
    assert "clean data/town/speeds" in caplog.text
    for layer, content in said.items():
        text = json.dumps(content, default=str)
        for told in ("Lovelace", "Turing", "1815", "1912", "52.5234", "52.4761", "Alexanderplatz"):
            assert told not in text, f"{told} in {layer}"
    ada = pseudonym("Ada Lovelace", SECRET.encode())
    found = {row["detector"]: (row["driver"], row["plate"], row["lat"]) for row in town.rows("silver")}
    assert found == {"a": (ada, None, 52.52), "b": (ada, None, 52.48), "c": (None, None, None)}
    assert sorted(row["rule"] for row in town.rows("quarantine")) == ["malformed", "type", "type"]


def test_without_the_key_nothing_lands(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.drop(FIRST, ["a,2026-03-02 00:00:00,50,Ada,B,1"], header=HEADER)
    for secret, said in ((None, "is not set"), ("short", "shorter than 16")):
        if secret is None:
            monkeypatch.delenv(KEY, raising=False)
        else:
            monkeypatch.setenv(KEY, secret)
        with pytest.raises(ConfigError, match=said):
            _run(town)
    assert not town.work("read").lake.table("bronze", "town/speeds").exists()


def test_images_lose_what_is_smaller_than_their_squares(town: Town) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (12, 8), np.uint8)
    folder = town.raw / "speeds" / FIRST.isoformat()
    folder.mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "a_60.png")
    sets = (
        "source={format: files, path: '${raw}/speeds/{day}/*.png', parser: {image: {mode: grey}},"
        " file_name: '^(?P<detector>.)_(?P<speed>[0-9]+)'}",
        "contract.key=[detector]",
        "contract.time=null",
        "contract.columns={detector: {type: text}, speed: {type: float},"
        " pixels: {type: array, of: uint8, shape: [12, 8], blur: 4}}",
    )
    _run(town, sets)
    blurred = pixelated(pixels.tobytes(), 12, 8, 1, 4)
    assert [row["pixels"] for row in town.rows("bronze")] == [blurred]
    assert [row["pixels"] for row in town.rows("silver")] == [blurred]
    assert np.unique(np.frombuffer(blurred, np.uint8)).size <= 6
