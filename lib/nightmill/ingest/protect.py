"""What says something of a person is changed on its way into bronze: behind it nobody ever sees the original."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F

from nightmill.config import Column, DataSet
from nightmill.config.source import landed_place
from nightmill.privacy import coarser, pixelated, pseudonym, pseudonym_key

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

WITHHELD = "withheld: its data set has personal columns"
"""Stands for the text of a malformed record, which may have anything anywhere."""
Change = Callable[[str | None], str | None]


def require_key(data_set: DataSet) -> None:
    """Raises ConfigError where pseudonyms are asked for and there is no key."""
    if any(column.personal == "pseudonym" for column in data_set.contract.personal.values()):
        pseudonym_key()


def protected(data_set: DataSet, rows: DataFrame, only: Collection[str] | None = None) -> DataFrame:
    """The same rows, with personal columns changed and the texts of malformed records withheld.

    `only` names the columns to change where others landed protected before.
    """
    found = {name: column for name, column in data_set.contract.personal.items() if only is None or name in only}
    if not found:
        return rows
    for name, column in found.items():
        for raw in data_set.contract.raw(name):
            place = landed_place(raw, rows.columns, data_set.source.format)
            if place is not None:
                rows = rows.withColumn(place[0], _changed(data_set, column, *place))
    withheld = F.when(F.col("_corrupt").isNotNull(), F.lit(WITHHELD))
    return rows.withColumn("_corrupt", withheld) if "_corrupt" in rows.columns else rows


def _changed(data_set: DataSet, column: Column, raw: str, inside: str) -> Expression:
    if column.personal == "remove" and not inside:
        return F.lit(None).cast("string")
    if column.type == "array":
        return _images(int(column.blur or 1))(F.col(f"`{raw}`"), F.col("height"), F.col("width"), F.col("channels"))
    change = _unless_missing(data_set, _change(column))
    apply = _within(inside, change) if inside else change

    def changed(texts: pa.Array) -> pa.Array:
        return pa.array([apply(text) for text in texts.to_pylist()], pa.string())

    return _udf(changed, "string")(F.col(f"`{raw}`").cast("string"))


def _change(column: Column) -> Change:
    if column.personal == "remove":
        return lambda text: None
    if column.personal == "pseudonym":
        key = pseudonym_key()
        return lambda text: pseudonym(text, key)
    step = float(column.blur or 1)
    return lambda text: coarser(text, step)


def _unless_missing(data_set: DataSet, change: Change) -> Change:
    """The same change, but for texts that mean a missing value: they say nothing of anybody."""
    missing = {*data_set.source.missing, ""}

    def apply(text: str | None) -> str | None:
        return text if text is None or text.strip() in missing else change(text)

    return apply


def _within(path: str, change: Change) -> Change:
    """The same change of the values at a path inside a JSON text; lists on the way are gone through."""

    def changed(node: Any, keys: list[str]) -> Any:
        if isinstance(node, list):
            return [changed(item, keys) for item in node]
        if not keys:
            return change(None if node is None else node if isinstance(node, str) else json.dumps(node))
        if node is None:
            return None
        if not isinstance(node, dict):
            raise ValueError  # something else stands where the path leads
        whole = ".".join(keys)  # a key may have dots
        if whole in node:
            return node | {whole: changed(node[whole], [])}
        return node | {keys[0]: changed(node[keys[0]], keys[1:])} if keys[0] in node else node

    def apply(text: str | None) -> str | None:
        try:
            document = changed(json.loads(text), path.split(".")) if text else None
        except ValueError:
            return None  # may hold it anywhere
        return None if document is None else json.dumps(document, ensure_ascii=False)

    return apply


def _images(size: int) -> Callable[..., Expression]:
    def blurred(pixels: pa.Array, height: pa.Array, width: pa.Array, channels: pa.Array) -> pa.Array:
        rows = zip(*(column.to_pylist() for column in (pixels, height, width, channels)))
        return pa.array([pixelated(p, int(h), int(w), int(c), size) for p, h, w, c in rows], pa.binary())

    return _udf(blurred, "binary")


def _udf(function: Callable[..., pa.Array], kind: str) -> Callable[..., Expression]:
    """Arrow arrays in, an Arrow array out; pyspark's own types do not name it yet."""
    made: Callable[..., Expression] = F.arrow_udf(function, kind)  # type: ignore[attr-defined]
    return made
