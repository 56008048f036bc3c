"""Pictures in any format that Pillow reads, as bytes of their pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from nightmill.config.source import Image

COLUMNS = pa.schema([("pixels", pa.binary()), ("height", pa.int64()), ("width", pa.int64()), ("channels", pa.int64())])


_DEEP = ("I", "F")
"""Pixels of 32 bits; Pillow would cut them off at 255."""


def parse(name: str, content: bytes, options: Image) -> Iterator[dict[str, Any]]:
    """One record: pixels [height, width, channels] of uint8, row by row."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(content)) as opened:
            if opened.mode in _DEEP or opened.mode.startswith("I;16"):
                raise ValueError(f"an image of {opened.mode} pixels; only those of 8 bits a colour are read")
            picture = opened.convert("L" if options.mode == "grey" else "RGB")
    except PIL.UnidentifiedImageError:
        raise ValueError("not an image in a known form") from None
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"not a readable image: {str(error).splitlines()[0]}") from None
    channels = len(picture.getbands())
    yield {"pixels": picture.tobytes(), "height": picture.height, "width": picture.width, "channels": channels}
