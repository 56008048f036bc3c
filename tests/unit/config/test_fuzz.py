"""Contracts that nobody would write: they load, or a typed error says where the slip is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightmill.config import Configuration
from nightmill.config.relation import read_relation
from nightmill.errors import ConfigError

CONF = Path(__file__).parents[3] / "conf"
VALUES = [
    "",
    "null",
    "~",
    "-1",
    "0",
    "1e9",
    "[]",
    "{}",
    "[a]",
    "{a: b}",
    "5 min",
    "0 s",
    "1 month",
    "true",
    "'",
    '"',
    "${raw}",
    "*x",
]
VALUES += [
    "&a",
    "!!python/object:os.system x",
    "%",
    "| ",
    "{a: {b: {c: d}}}",
    "2026-03-01",
    "\t",
    "é",
    "a: b: c",
    "- -",
    "[",
    "{",
    "200 %",
]


def _mutated(text: str, dice: random.Random) -> str:
    lines = text.splitlines()
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(lines))
        line = lines[place]
        match dice.randrange(6):
            case 0:
                lines[place] = f"{line.split(':')[0]}: {dice.choice(VALUES)}"
            case 1:
                del lines[place]
            case 2:
                lines.insert(place, dice.choice(lines))
            case 3:
                lines[place] = "  " + line if dice.random() < 0.5 else line.lstrip()
            case 4:
                at = dice.randint(0, len(line))
                lines[place] = (
                    line[:at] + dice.choice(["x", ":", "{", "}", "[", "]", ",", "#", '"', " ", "\u2028"]) + line[at:]
                )
            case _:
                lines[place] = line.replace(dice.choice(["type", "key", "time", "every", "source"]), "tpye")
        if not lines:
            break
    return "\n".join(lines) + "\n"


def test_thousands_of_broken_data_sets_load_or_say_what_is_wrong(tmp_path: Path) -> None:
    dice, refused = random.Random(7), 0
    originals = sorted((CONF / "data").glob("*/*.yaml"))
    (tmp_path / "env").mkdir()
    (tmp_path / "env/local.yaml").write_text("lake: lake\n")
    (tmp_path / "data/city").mkdir(parents=True)
    for number in range(4000):
        path = tmp_path / "data/city/one.yaml"
        path.write_text(_mutated(dice.choice(originals).read_text(), dice), encoding="utf-8")
        try:
            Configuration.load(tmp_path).data_set("data/city/one")
        except ConfigError as error:
            refused += 1
            assert error.what and error.where, number
    assert 1000 < refused < 4000


@given(st.text(alphabet="ab1 +-*/%=<>()andornotabsround,._'\"\n", max_size=40))
@settings(max_examples=3000, deadline=None)
def test_any_text_is_a_relation_or_is_refused(text: str) -> None:
    try:
        read_relation(text)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("text", ["(" * 5000, "a" + " + a" * 5000 + " > 0", "not " * 5000 + "a > 1"])
def test_an_endless_relation_is_refused_too(text: str) -> None:
    try:
        read_relation(text)
    except ValueError as error:
        assert str(error)
