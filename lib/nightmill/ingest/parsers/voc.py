"""Boxes on images, as the PASCAL Visual Object Classes challenge writes them (Everingham et al. 2010)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa

from nightmill.config.source import Voc

_EDGES = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = pa.schema(
    [("image", pa.string()), ("box", pa.int64()), ("label", pa.string()), *((edge, pa.float64()) for edge in _EDGES)]
)


def parse(name: str, content: bytes, options: Voc) -> Iterator[dict[str, Any]]:
    """One record per box; edges in pixels from 1, as written."""
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("an annotation declares no entities of its own")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    image = root.findtext("filename")
    if root.tag != "annotation" or not image:
        raise ValueError("not a VOC annotation with the name of its image")
    for number, found in enumerate(root.iter("object"), start=1):
        edges = {edge: found.findtext(f"bndbox/{edge}") for edge in _EDGES}
        label = found.findtext("name")
        try:
            yield {
                "image": image.strip(),
                "box": number,
                "label": (label or "").strip(),
                **{edge: float(text or "") for edge, text in edges.items()},
            }
        except ValueError:
            raise ValueError(f"box {number} has no four edges: {edges}") from None
