"""A production line: a part a minute in two shifts of working days, measured and judged.

The diameter grows as the tool wears and falls back when it is changed every 700 minutes of the clock; the force shows
the wear, with an error of its own. A part is ok within ±0.040 mm of 20 mm, rework within ±0.055, else scrap: by its
true diameter, so who knows it predicts the verdict as well as the measuring error of 4 µm allows.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import day_off, iso, local_clock, local_steps, minutes
from nightmill.simulate.drops import Drops

NAME, FILE = "factory/line", "line.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(minutes=1)
VERDICTS = ("ok", "rework", "scrap")
COLUMNS = ("line", "ts", "part", "force", "length", "diameter", "verdict")
_TOOL_LIFE = 700.0


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`factory/line/{day}/line.csv`: COLUMNS; ts in UTC, force kN, others mm, part as P01-20260302-0123."""
    value = F.col("diameter")
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "superseded": {"diameter": _text(value.cast("double") - 0.012)},
        "out_of_range": {"diameter": F.lit("0.000")},
        "not_a_number": {"diameter": F.lit("OVL")},
        "missing_value": {"diameter": F.lit(None).cast("string")},
        "missing_step": {},
        "bad_code": {"part": F.regexp_replace("part", "-", "_")},
        "bad_category": {"verdict": F.lit("?")},
        "malformed": {},
    }
    clean = parts(spark, first - timedelta(days=1), days + 1, count, chance)
    clean = clean.withColumns({"diameter": _text(value), "time": iso(F.col("ts"))})
    soil = dirt.Soil(NAME, FILE, "line", kinds, count * 960)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns, order = ("line", "time", *COLUMNS[2:]), ("ts", "line", "diameter")
    return Drops(NAME, FILE, records, columns, order, truth, COLUMNS, damage=("renamed_column",))


def parts(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """line, ts (UTC timestamp), day, part, force, length, diameter (mm, three decimals), verdict, without dirt."""
    number, now, of = F.col("id"), minutes(F.col("ts")), (F.col("ts"), F.col("id"))
    local_day, minute = local_clock(F.col("ts"), ZONE)
    age = (now + chance.uniform("line/tool", number) * _TOOL_LIFE) / _TOOL_LIFE
    tool = F.floor(age).cast("long")
    wear = F.pow(age - tool, 2) * chance.between(0.02, 0.07, "line/wear", number, tool)
    warm = chance.drift("line/warm", now, 240, number) * 0.006
    deviation = F.col("wear") - 0.015 + warm + chance.normal("line/part", *of) * 0.009
    off = F.abs(F.col("deviation"))
    verdict = F.when(off <= 0.04, "ok").when(off <= 0.055, "rework").otherwise("scrap")
    code = F.format_string("P%02d-%s-%04d", number, F.date_format("day", "yyyyMMdd"), F.col("minute").cast("int"))
    return (
        spark.range(count)
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .withColumns({"local_day": local_day, "minute": minute})
        .where(~day_off(F.col("local_day")) & F.col("minute").between(360, 1319))
        .withColumn("wear", wear)
        .withColumn("deviation", deviation)
        .select(
            F.format_string("line-%02d", number).alias("line"),
            "ts",
            "day",
            code.alias("part"),
            F.round(F.col("wear") * 120 + 42 + chance.normal("line/force", *of) * 0.5, 2).alias("force"),
            F.round(chance.normal("line/length", *of) * 0.02 + 80, 3).alias("length"),
            F.round(F.col("deviation") + 20 + chance.normal("line/gauge", *of) * 0.004, 3).alias("diameter"),
            verdict.alias("verdict"),
        )
    )


def _text(diameter: Column) -> Column:
    return F.format_string("%.3f", diameter)
