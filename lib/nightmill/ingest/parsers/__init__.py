"""Parsers of files that Spark cannot read: bytes of one file -> records. A new one adds its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from nightmill.config.values import Options
from nightmill.ingest.parsers import image, jobshop, mat, pmedian, reference, voc

Parse = Callable[[str, bytes, Any], Iterator[dict[str, Any]]]
"""(name of the file, its content, the parser's options) -> records; raises ValueError for content it cannot read."""

_PARSERS = {
    "image": image,
    "jobshop": jobshop,
    "mat": mat,
    "pmedian": pmedian,
    "reference": reference,
    "voc": voc,
}


def columns(options: Options) -> pa.Schema:
    """Columns of a parser's records."""
    schema: pa.Schema = _PARSERS[options.kind].COLUMNS  # type: ignore[attr-defined]
    return schema


def parse(options: Options) -> Parse:
    """The function of a parser."""
    found: Parse = _PARSERS[options.kind].parse  # type: ignore[attr-defined]
    return found
