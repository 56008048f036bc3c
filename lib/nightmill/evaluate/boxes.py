"""Whether what a model looks at in an image is what people marked in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nightmill.config import DataSet
from nightmill.evaluate.predict import Floats, Material
from nightmill.lake.entities import JOINED
from nightmill.lake.tables import Lake
from nightmill.models.bundle import Bundle

EDGES = ("xmin", "ymin", "xmax", "ymax")


def boxes_of(lake: Lake, data_set: DataSet, key: list[str]) -> dict[str, Floats]:
    """Entity -> [n, 4] xmin, ymin, xmax, ymax of its boxes, pixels counted from 1; `key` are the entity's columns."""
    rows = lake.table("silver", data_set.name).delta().to_pyarrow_table(columns=[*key, *EDGES]).to_pydict()
    places = np.stack([np.asarray(rows[edge], np.float32) for edge in EDGES], axis=1)
    found: dict[str, list[Floats]] = {}
    for parts, place in zip(zip(*(rows[name] for name in key)), places, strict=True):
        found.setdefault(JOINED.join(map(str, parts)), []).append(place)
    return {name: np.stack(some) for name, some in found.items()}


def met(bundle: Bundle, material: Material, boxes: Mapping[str, Floats]) -> float:
    """Share of the test images with boxes whose hottest place lies in one of them.

    Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop" (the pointing game).
    """
    hits, tries = 0, 0
    for batch in material.batches(material.parts.test, list(bundle.shape.features)):
        real = batch.weight > 0
        images, entities = batch.x[real], batch.entity[real].tolist()
        size = bundle.network.at_once(len(images))
        for first in range(0, len(images), size):
            heat = bundle.network.heat(images[first : first + size])
            for one, number in zip(heat, entities[first : first + size]):
                marked = boxes.get(material.index.entities[number])
                if marked is not None:
                    row, column = divmod(int(one.argmax()), one.shape[1])
                    tries += 1
                    hits += _inside(marked, column + 1, row + 1)
    return hits / tries if tries else float("nan")


def _inside(boxes: Floats, x: int, y: int) -> bool:
    left, top, right, bottom = boxes.T
    return bool(((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).any())
