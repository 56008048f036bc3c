"""Injection moulding: a part every five minutes, with what the press did, and whether the part has a defect.

Each press has a setting of its own for temperature, pressure and speed, which drift about it; humidity is that of the
granulate. A defect is drawn with the probability `chances`, which is no line: damp granulate is worse when hot, a fast
press with little pressure leaves voids, and far from the usual temperature anything may happen. No model can say more
than that probability does.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import iso, local_steps, minutes
from nightmill.simulate.drops import Drops
from nightmill.simulate.episodes import Steps

NAME, FILE = "factory/moulding", "moulding.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(minutes=5)
MIDDLE = {"temperature": (225.0, 6.0), "humidity": (45.0, 12.0), "pressure": (800.0, 40.0), "speed": (60.0, 6.0)}
"""Of each process value the usual one and its spread: °C, %, bar, mm/s."""
COLUMNS = ("press", "ts", *MIDDLE, "defect")


def drops(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> Drops:
    """`factory/moulding/{day}/moulding.csv`: COLUMNS; ts in UTC, defect 0 or 1."""
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "out_of_range": {"temperature": F.lit("-40.0")},
        "not_a_number": {"humidity": F.lit("wet")},
        "missing_value": {"pressure": F.lit(None).cast("string")},
        "missing_step": {},
        "late": {},
        "malformed": {},
        "bad_code": {"press": F.translate("press", "-", "/")},
    }
    clean = parts(spark, first - timedelta(days=1), days + 1, count, chance)
    texts = {name: F.format_string("%.1f", name) for name in MIDDLE}
    clean = clean.withColumns(texts | {"time": iso(F.col("ts")), "defect": F.col("defect").cast("string")})
    soil = dirt.Soil(NAME, FILE, "press", kinds, count * 288, Steps(EVERY, ZONE))
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns = ("press", "time", *MIDDLE, "defect")
    return Drops(
        NAME, FILE, records, columns, ("ts", "press", "temperature"), truth, COLUMNS, damage=("same_file_again",)
    )


def parts(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """press, ts (UTC timestamp), day, temperature, humidity, pressure, speed (one decimal), defect, without dirt."""
    press, now, of = F.col("press"), minutes(F.col("ts")), (F.col("ts"), F.col("press"))
    values = {}
    for name, (usual, spread) in MIDDLE.items():
        own = F.lit(0.0) if name == "humidity" else chance.normal(f"moulding/{name}/own", press) * 0.6
        moves = (
            chance.drift(f"moulding/{name}", now, 360, press) * 0.7 + chance.normal(f"moulding/{name}/part", *of) * 0.4
        )
        values[name] = F.round((own + moves * (1.2 if name == "humidity" else 1.0)) * spread + usual, 1)
    rows = (
        spark.range(count)
        .select(F.format_string("press-%02d", "id").alias("press"))
        .crossJoin(F.broadcast(local_steps(spark, first, days, EVERY, ZONE)))
        .select("press", "ts", "day")
        .withColumns(values)
    )
    drawn = chance.uniform("moulding/defect", *of) < chances()
    return rows.withColumn("defect", drawn.cast("int"))


def chances() -> Column:
    """The probability of a defect, from the columns of process values: what an oracle would say."""
    hot, damp, pressed, fast = (
        (F.col(name) - F.lit(usual)) / F.lit(spread)
        for name, (usual, spread) in ((n, MIDDLE[n]) for n in ("temperature", "humidity", "pressure", "speed"))
    )

    def above(value: Column) -> Column:
        return F.greatest(value, F.lit(0.0))

    odds = (
        damp * 2.2
        + hot * 1.8
        - pressed * 1.6
        + fast * 1.2
        + above(damp) * above(hot) * 2.5
        + above(-pressed - 0.3) * above(fast) * 3
        + above(F.abs(hot) - 1.2) * 2
        - 6
    )
    return F.lit(1.0) / (F.exp(-odds) + 1)
