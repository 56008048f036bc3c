"""Texts and signs of the page can be told from what they stand on: WCAG 2.2, 1.4.3 and 1.4.11, in both themes."""

from __future__ import annotations

import re

import pytest

from nightmill.report.render import asset

TEXT, SIGN = 4.5, 3.0
PAIRS = [
    *[(ink, ground, TEXT) for ink in ("ink", "muted", "accent") for ground in ("ground", "surface", "quiet-soft")],
    *[(name, f"{name}-soft", TEXT) for name in ("bad", "warn", "fine", "quiet")],
    *[(name, ground, TEXT) for name in ("bad", "fine") for ground in ("ground", "surface")],
    *[(name, "surface", SIGN) for name in ("model", "naive", "truth", "good", "bad", "warn", "normal", "unknown")],
    *[(name, "area", SIGN) for name in ("normal", "unknown", "warn", "bad")],
    ("bad", "bad-soft", SIGN),
    ("ink", "area", TEXT),
    ("ink", "bad-soft", TEXT),
    ("model", "band", SIGN),
    ("truth", "band", SIGN),
]


def _themes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", asset("page.css"), re.S)[:2]
    found = {
        name: dict(re.findall(r"--([\w-]+): (#\w{6});", text)) for name, text in (("light", light), ("dark", dark))
    }
    return found | {"dark": found["light"] | found["dark"]}


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_has_the_contrast_of_the_standard() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_pair_of_colours_has_enough_contrast(theme: str) -> None:
    colours = _themes()[theme]
    found = {(a, b): round(_contrast(colours[a], colours[b]), 2) for a, b, _ in PAIRS}
    assert {pair: found[pair] for *pair_, least in PAIRS if found[pair := tuple(pair_)] < least} == {}  # type: ignore[index]


def test_every_colour_is_named_once_and_known_in_both_themes() -> None:
    themes, css = _themes(), asset("page.css")
    used = set(re.findall(r"var\(--([\w-]+)\)", css))
    assert used <= themes["light"].keys() and themes["light"].keys() == themes["dark"].keys()
    beyond = css[css.index("* { box-sizing") :]
    assert set(re.findall(r"#[0-9a-f]{6}", beyond)) <= {"#ffffff"}, "colours are named in :root"
