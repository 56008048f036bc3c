"""p-median graphs in the text form of the OR-Library (Beasley 1990)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from nightmill.config.source import PMedian
from nightmill.ingest.parsers.numbers import whole_numbers

COLUMNS = pa.schema([(name, pa.int64()) for name in ("line", "source", "target", "length", "nodes", "sites")])


def parse(name: str, content: bytes, options: PMedian) -> Iterator[dict[str, Any]]:
    """One record per edge, in the file's order: edges have no direction, so the smaller node is the source."""
    lines = whole_numbers(content)
    if not lines or len(lines[0]) != 3:
        raise ValueError("not a p-median graph: the first line is not the numbers of nodes, edges and sites")
    (nodes, edges, sites), rows = lines[0], lines[1:]
    if len(rows) != edges:
        raise ValueError(f"the first line says {edges} edges, and there are {len(rows)}")
    for line, row in enumerate(rows, start=1):
        if len(row) != 3 or not all(1 <= node <= nodes for node in row[:2]):
            raise ValueError(f"edge {line} is not two nodes from 1 to {nodes} and a length: {row}")
        source, target = sorted(row[:2])
        edge = {"line": line, "source": source, "target": target, "length": row[2]}
        yield edge | {"nodes": nodes, "sites": sites}
