"""Weighted mean of a column over an entity's neighbours in a graph, at the same time.

Weights of each entity's edges are normalised to 1 over the neighbours that have a value then (the random-walk
diffusion of Li et al., DCRNN, ICLR 2018); an entity is never its own neighbour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from nightmill.config.features import Neighbours
from nightmill.features.names import names_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightmill.features.stage import Inputs


def add(feature: Neighbours, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds one column per way; null where no neighbour has a value at that time."""
    graph, node = inputs.graph(feature.over)
    graph = graph.where("weight > 0 AND source <> target")
    values = rows.select("ts", F.col(f"`{node}`").cast("string").alias("_neighbour"), F.col(f"`{feature.of}`").alias("_v"))
    values = values.where("_v IS NOT NULL")
    for way, name in zip(feature.along, names_of(feature), strict=True):
        edges = _edges(graph, way)
        means = (
            values.join(F.broadcast(edges), "_neighbour")
            .groupBy("_entity", "ts")
            .agg((F.sum(F.col("_v") * F.col("_w")) / F.sum("_w")).alias(name))
            .withColumnsRenamed({"ts": "_ts"})
        )
        same = (F.col("_entity") == F.col(f"`{node}`").cast("string")) & (F.col("_ts") == F.col("ts"))
        rows = rows.join(means, same, "left").drop("_entity", "_ts")
    return rows


def _edges(graph: DataFrame, way: str) -> DataFrame:
    """(_entity, _neighbour, _w), the weights of an entity summing to 1."""
    if way == "in":
        edges = graph.select(F.col("target").alias("_entity"), F.col("source").alias("_neighbour"), "weight")
    else:
        edges = graph.select(F.col("source").alias("_entity"), F.col("target").alias("_neighbour"), "weight")
    if way == "two_hops":
        first = _normalised(edges)
        second = first.select(
            F.col("_entity").alias("_middle"), F.col("_neighbour").alias("_far"), F.col("_w").alias("_w2")
        )
        edges = (
            first.join(second, first["_neighbour"] == second["_middle"])
            .where("_far <> _entity")
            .groupBy("_entity", F.col("_far").alias("_neighbour"))
            .agg(F.sum(F.col("_w") * F.col("_w2")).alias("weight"))
        )
    return _normalised(edges)


def _normalised(edges: DataFrame) -> DataFrame:
    sums = edges.groupBy("_entity").agg(F.sum("weight").alias("_sum"))
    return edges.join(sums, "_entity").select("_entity", "_neighbour", (F.col("weight") / F.col("_sum")).alias("_w"))
