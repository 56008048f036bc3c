"""Weighted mean of a column over an entity's neighbours in a graph, at the same time.

Weights of each entity's edges are normalised to 1 over the neighbours that have a value then (the random-walk
diffusion of Li et al., DCRNN, ICLR 2018); an entity is never its own neighbour.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightmill.config.features import Neighbours

if TYPE_CHECKING:
    from pyspark.sql import Column

    from nightmill.features.inputs import Inputs


def add(feature: Neighbours, rows: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds one column per way; null where no neighbour has a value at that time.

    All ways share one pass: each value goes once to every neighbour, tagged with the way that leads there.
    """
    graph, node = inputs.graph(feature.over)
    graph = graph.where("weight > 0 AND source <> target")
    ways = [_edges(graph, way).withColumn("_way", F.lit(way)) for way in feature.along]
    edges = reduce(DataFrame.unionAll, ways)
    at_node = F.col(f"`{node}`").cast("string")
    values = inputs.wanted().select("ts", at_node.alias("_neighbour"), F.col(f"`{feature.of}`").alias("_v"))
    means = (
        values.where("_v IS NOT NULL")
        .join(F.broadcast(edges), "_neighbour")
        .groupBy("_entity", F.col("ts").alias("_ts"))
        .agg(*[_mean(way).alias(name) for way, name in zip(feature.along, feature.names, strict=True)])
    )
    same = (F.col("_entity") == at_node) & (F.col("_ts") == F.col("ts"))
    return rows.join(means, same, "left").drop("_entity", "_ts")


def _mean(way: str) -> Column:
    weight = F.when(F.col("_way") == way, F.col("_w"))
    return F.sum(F.col("_v") * weight) / F.sum(weight)


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
    of_entity = F.sum("weight").over(Window.partitionBy("_entity"))
    return edges.select("_entity", "_neighbour", (F.col("weight") / of_entity).alias("_w"))
