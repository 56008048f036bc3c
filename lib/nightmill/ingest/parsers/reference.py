"""Files that stay where they are: networks, models, drawings. The lake knows their place, size and content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from nightmill.config.source import Reference

COLUMNS = pa.schema([("path", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string())])


def parse(name: str, content: bytes, options: Reference) -> Iterator[dict[str, Any]]:
    """One record for the file."""
    yield {"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
