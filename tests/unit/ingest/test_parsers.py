"""Parsers read what they promise, and refuse by ValueError what they would read wrongly."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
from scipy.io import savemat

from nightmill.config.source import Image, JobShop, Mat, PMedian
from nightmill.ingest.parsers import image, jobshop, mat, pmedian


def _picture(pixels: Any, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(np.asarray(pixels)).save(stream, form)
    return stream.getvalue()


def test_pixels_are_those_of_the_picture_in_its_colours() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    (record,) = image.parse("a.png", _picture(grey), Image(mode="grey"))
    assert record == {"pixels": grey.tobytes(), "height": 3, "width": 4, "channels": 1}
    (record,) = image.parse("a.png", _picture(grey), Image(mode="rgb"))
    assert record["pixels"] == np.repeat(grey, 3).tobytes() and record["channels"] == 3


@pytest.mark.parametrize(
    "content",
    [
        _picture(np.array([[0, 60000]], np.uint16)),
        _picture(np.array([[0.0, 0.5]], np.float32), "TIFF"),
        b"",
        b"no picture",
        _picture(np.zeros((40, 40), np.uint8))[:-30],
    ],
    ids=["16 bits", "float", "empty", "text", "cut off"],
)
def test_what_is_no_picture_of_8_bits_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(ValueError) as refused:
        list(image.parse("a.png", content, Image(mode="grey")))
    assert "0x" not in str(refused.value), "no address of the memory"


@pytest.mark.parametrize("kind", [np.float64, np.int64, np.int16, np.float32, np.uint8])
def test_samples_are_float64_whatever_the_file_has(kind: Any) -> None:
    stream = io.BytesIO()
    savemat(stream, {"x": np.arange(5, dtype=kind), "other": "text"})
    blocks = list(mat.parse("a.mat", stream.getvalue(), Mat(variables="^x$", block=3)))
    assert [block["block"] for block in blocks] == [1, 2]
    assert np.concatenate([np.frombuffer(b["samples"], "<f8") for b in blocks]).tolist() == [0, 1, 2, 3, 4]


def test_instances_may_begin_with_a_mark_and_have_no_endless_numbers() -> None:
    assert len(list(jobshop.parse("a", "\ufeff1 2\n0 5 1 7\n".encode(), JobShop()))) == 2
    for text in ("1 1\n0 99999999999999999999999\n", "2 1\n0 5\n", "1 1\n0 5.5\n", "", "1 2\n0 5 0 7\n"):
        with pytest.raises(ValueError):
            list(jobshop.parse("a", text.encode(), JobShop()))
    (edge,) = pmedian.parse("a", b"# a remark\n2 1 1\n2 1 7\n", PMedian())
    assert (edge["source"], edge["target"], edge["length"]) == (1, 2, 7)
