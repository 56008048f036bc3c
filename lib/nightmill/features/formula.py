"""What follows from other columns of the same row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.config.features import Formula
from nightmill.config.relation import read_formula
from nightmill.lake.relations import expression

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.inputs import Inputs


def add(feature: Formula, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds the value; null where a column of it is, and where it divides by 0."""
    relation = read_formula(feature.of)
    columns = {name: F.col(f"`{name}`").cast("double") for name in relation.columns}
    return rows.withColumn(feature.name, expression(relation, columns))
