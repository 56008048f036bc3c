"""Relations and formulas between columns, as Spark's expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nightmill.config.relation import Relation

if TYPE_CHECKING:
    from pyspark.sql import Column


def expression(relation: Relation, columns: Mapping[str, Column]) -> Column:
    """The condition or value over these columns; null where what it needs is, and where it divides by 0.

    least and greatest leave missing values out.
    """
    from pyspark.sql import functions as F

    functions: dict[str, Callable[..., Any]] = {
        "abs": F.abs,
        "round": F.round,
        "least": F.least,
        "greatest": F.greatest,
        "divide": F.try_divide,
    }
    found: Column = relation.build(columns, F.lit, functions)
    return found
