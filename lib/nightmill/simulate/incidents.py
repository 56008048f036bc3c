"""Incidents on roads: each blocks its detector for 30-90 minutes, and the queue grows upstream."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nightmill.simulate.chance import Chance

WATCH = 360
"""Minutes of a watch: each detector has at most one incident per watch."""
_SHARE = 0.03
"""Share of a detector's watches with an incident."""
_SPILL = 3
"""Detectors upstream that the queue reaches."""
_HOP = 10.0
"""Minutes that the queue needs from one detector to the next."""


def slowdowns(detectors: DataFrame, first: date, days: int, every: int, chance: Chance) -> DataFrame:
    """road, position, step (int64: minutes since 1970 / every), blocked (0-1: lost share of speed, the worst wins).

    Covers the local days from `first` on in any zone: one day more on both sides.
    """
    begin = int(datetime.combine(first - timedelta(days=1), time(), UTC).timestamp()) // 60
    watches = F.sequence(
        F.lit(begin // WATCH).cast("long"),
        F.lit((begin + (days + 2) * 1440) // WATCH).cast("long"),
        F.lit(1).cast("long"),
    )
    source = (F.col("road"), F.col("position"), F.col("watch"))
    start = F.col("watch") * WATCH + chance.uniform("incident/start", *source) * WATCH
    return (
        detectors.select("road", "position", F.explode(watches).alias("watch"))
        .where(chance.uniform("incident", *source) < _SHARE)
        .withColumns(
            {
                "start": start,
                "end": start + chance.between(30, 90, "incident/length", *source),
                "severity": chance.between(0.3, 0.7, "incident/severity", *source),
            }
        )
        .transform(_spill_upstream)
        .withColumn("step", F.explode(_steps(every)))
        .groupBy("road", "position", "step")
        .agg(F.max("severity").alias("blocked"))
    )


def _spill_upstream(incidents: DataFrame) -> DataFrame:
    """One row per detector reached: later, and weaker, the further upstream."""
    hop = F.col("hop")
    return (
        incidents.withColumn("hop", F.explode(F.sequence(F.lit(0), F.lit(_SPILL))))
        .withColumns(
            {
                "position": F.col("position") - hop,
                "start": F.col("start") + hop * _HOP,
                "end": F.col("end") + hop * _HOP,
                "severity": F.col("severity") * F.pow(F.lit(0.8), hop),
            }
        )
        .where("position >= 0")
    )


def _steps(every: int) -> Column:
    return F.sequence(F.ceil(F.col("start") / every), F.floor(F.col("end") / every))
