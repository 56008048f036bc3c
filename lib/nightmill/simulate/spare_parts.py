"""Spare parts: daily demand and stock per part; opening + receipts - issued = closing.

Demand is intermittent: on working days a part is asked for with its own probability, in geometric numbers. Each part is
filled up to its own level once a week: so a stock needs a week of past alone. What is not there is not issued later.
The best forecast of a day's demand by squared error is `mean_demand`.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import day_off, midnight
from nightmill.simulate.drops import Drops

NAME, FILE = "factory/spare_parts", "spare_parts.csv"
ZONE = "Europe/Berlin"
COLUMNS = ("part", "date", "opening", "receipts", "issued", "closing", "demand")
_WEEK = 7


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`factory/spare_parts/{day}/spare_parts.csv`: COLUMNS, in pieces; date is local."""
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "superseded": {name: dirt.plus(name, 1) for name in ("opening", "closing")},
        "out_of_range": {"demand": F.lit("-5")},
        "not_a_number": {"demand": F.lit("k.A.")},
        "missing_value": {"demand": F.lit(None).cast("string")},
        "missing_step": {},
        "late": {},
        "bad_code": {"part": F.lower("part")},
        "broken_relation": {"closing": dirt.plus("closing", 7)},
    }
    clean = stocks(spark, first - timedelta(days=1), days + 1, count, chance)
    texts = {name: F.col(name).cast("string") for name in ("opening", "closing", "demand")}
    clean = clean.withColumns({**texts, "date": F.date_format("day", "yyyy-MM-dd")})
    soil = dirt.Soil(NAME, FILE, "part", kinds, count)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    return Drops(NAME, FILE, records, COLUMNS, ("day", "part", "closing"), truth)


def stocks(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """part, ts (UTC timestamp of local midnight), day, and the pieces of COLUMNS (int64), without dirt."""
    number, today = F.col("number"), F.col("today")
    age = ((today + number) % _WEEK).cast("int")
    usual = _share(chance) * _size(chance) * _WEEK
    level = F.ceil(usual * 1.4 + 2).cast("long")

    def left(since: Column, until: Column) -> Column:
        """Of a full stock after the demand of the days `since` … `until` ago; nothing is owed."""
        each = F.when(since < until, F.array().cast("array<int>")).otherwise(F.sequence(until, since))
        asked = F.aggregate(each, F.lit(0).cast("long"), lambda s, ago: s + _demand(today - ago, chance))
        return F.greatest(F.col("level") - asked, F.lit(0).cast("long"))

    opening = F.when(age == 0, left(F.lit(_WEEK), F.lit(1))).otherwise(left(age, F.lit(1)))
    receipts = F.when(age == 0, F.col("level") - F.col("opening")).otherwise(F.lit(0).cast("long"))
    return (
        spark.range(count)
        .select(F.col("id").alias("number"))
        .withColumn("day", F.explode(F.sequence(F.lit(first), F.lit(first + timedelta(days=days - 1)))))
        .withColumns({"today": F.unix_date("day").cast("long"), "level": level})
        .withColumns({"opening": opening, "closing": left(age, F.lit(0)), "demand": _demand(today, chance)})
        .withColumn("receipts", receipts)
        .select(
            F.format_string("SP-%05d", number).alias("part"),
            midnight(F.col("day"), ZONE).alias("ts"),
            "day",
            "opening",
            "receipts",
            (F.col("opening") + F.col("receipts") - F.col("closing")).alias("issued"),
            "closing",
            "demand",
        )
    )


def mean_demand(day: Column, chance: Chance) -> Column:
    """Expected pieces of the part `number` on a local day (int64 since 1970)."""
    return F.when(day_off(day), 0.0).otherwise(_share(chance) * _size(chance))


def _share(chance: Chance) -> Column:
    """Of the working days on which someone asks for a part."""
    return chance.between(0.1, 0.7, "parts/share", F.col("number"))


def _size(chance: Chance) -> Column:
    """Mean pieces asked for at once."""
    return chance.between(1.2, 6.0, "parts/size", F.col("number"))


def _demand(day: Column, chance: Chance) -> Column:
    of = (F.col("number"), day)
    # geometric from 1 on with the mean of _size
    pieces = F.floor(F.log(chance.uniform("parts/pieces", *of)) / F.log(F.lit(1.0) - F.lit(1.0) / _size(chance))) + 1
    asked = (chance.uniform("parts/asked", *of) < _share(chance)) & ~day_off(day)
    return F.when(asked, pieces.cast("long")).otherwise(F.lit(0).cast("long"))
