"""Speeds at the loop detectors, every five minutes.

Congestion starts at the end of a road and travels upstream at the speed that stop-and-go waves have on motorways,
about 15 km/h (Treiber and Kesting 2013, Traffic Flow Dynamics, ch. 18). So a detector's downstream neighbours know
what comes to it, which is what a forecast with a road graph can use and one without cannot.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate import dirt, roads
from nightmill.simulate.chance import Chance
from nightmill.simulate.clock import day_off, local_steps, minutes, years_later, zone_offset
from nightmill.simulate.drops import Change, Drops, as_it_is
from nightmill.simulate.episodes import Steps
from nightmill.simulate.incidents import slowdowns

NAME, FILE = "city/traffic", "traffic.csv"
ZONE = "Europe/Berlin"
EVERY = timedelta(minutes=5)
LOCAL_TIME = "yyyy-MM-dd HH:mm:ss"
_WAVE = 15.0 / 60
"""Speed of a congestion wave, km per minute."""


def drops(
    spark: SparkSession, first: date, days: int, count: int, chance: Chance, fault: Change | None = None
) -> Drops:
    """`city/traffic/{day}/traffic.csv`: detector, ts (local time, without zone), speed (km/h).

    A fault changes what `speeds` gives.
    """
    value, of, steps = F.col("speed"), (F.col("ts"), F.col("detector")), Steps(EVERY, ZONE)
    number, frozen = value.cast("double"), chance.between(40, 90, "traffic/stuck", F.col("detector"), steps.watch())
    kinds: dict[str, dict[str, Column]] = {
        "duplicate": {},
        "superseded": {"speed": _text(number * 0.8)},
        "out_of_range": {"speed": F.when(chance.uniform("code", *of) < 0.5, "-1").otherwise("999")},
        "not_a_number": {"speed": F.lit("err")},
        "missing_value": {"speed": F.lit(None).cast("string")},
        "missing_step": {},
        "late": {},
        "unknown_entity": {"detector": F.concat("detector", F.lit("-old"))},
        "malformed": {},
        "bad_time": {"local": F.lit("--:--")},
        "future_time": {"local": _local(years_later(F.col("ts")))},
        "stuck": {"speed": _text(frozen)},
        "spike": {"speed": _text(F.when(number > 100, number - 90).otherwise(number + 90))},
    }
    clean = speeds(spark, first - timedelta(days=1), days + 1, count, chance).transform(fault or as_it_is)
    clean = clean.withColumns({"speed": _text(value), "local": _local(F.col("ts"))})
    soil = dirt.Soil(NAME, FILE, "detector", kinds, count * 288, steps)
    records, truth = dirt.plant(clean, soil, first, days, chance)
    columns, header = ("detector", "local", "speed"), ("detector", "ts", "speed")
    damage = ("unreadable_file", "same_file_again")
    return Drops(NAME, FILE, records, columns, ("ts", "detector", "speed"), truth, header, damage=damage)


def speeds(spark: SparkSession, first: date, days: int, count: int, chance: Chance) -> DataFrame:
    """detector (text), ts (UTC timestamp), day (local date) and speed (km/h, one decimal), without dirt."""
    every = int(EVERY.total_seconds()) // 60
    network = roads.detectors(spark, count, chance)
    steps = local_steps(spark, first, days, EVERY, ZONE)
    return (
        network.crossJoin(F.broadcast(steps))
        .withColumn("step", F.unix_seconds("ts").cast("long") / F.lit(60 * every))
        .withColumn("step", F.col("step").cast("long"))
        .join(slowdowns(network, first, days, every, chance), ["road", "position", "step"], "left")
        .withColumn("now", minutes(F.col("ts")))
        .transform(lambda rows: _with_congestion(rows, count, chance))
        .select("detector", "ts", "day", _speed(chance).alias("speed"))
    )


def _with_congestion(rows: DataFrame, count: int, chance: Chance) -> DataFrame:
    """Adds `congestion` (0 free to 1 jam): demand and waves as they were when they left the road's end.

    Waves come from the road's own end and from its junction with the next road; weather slows the whole city at once.
    """
    length = (roads.PER_ROAD - 1) * roads.SPACING
    from_junction = (length - roads.JUNCTION * roads.SPACING) / _WAVE
    road, left = F.col("road"), F.col("left")
    following = ((road + 1) % roads.roads_of(count)).cast("long")
    waves = (
        chance.drift("wave", left, 45, road) * 0.6
        + chance.drift("wave", left - from_junction, 45, following) * 0.4
        + chance.drift("weather", F.col("now"), 150) * 0.7
    )
    local = left + zone_offset(F.col("ts"), ZONE)
    return (
        rows.withColumn("left", F.col("now") - (F.lit(length) - F.col("km")) / _WAVE)
        .withColumns({"waves": waves, "local_day": F.floor(local / 1440).cast("long")})
        .withColumn("local_minute", local - F.col("local_day") * 1440)
        .withColumn("demand", demand(chance))
        .withColumn("congestion", F.col("demand") * (F.lit(0.3) + _share(F.col("waves"))) + _share(F.col("waves") - 3))
    )


def demand(chance: Chance) -> Column:
    """0 at night to about 1: two rush hours on working days, one broad peak on others; no two days alike.

    Of the columns road, local_day and local_minute.
    """
    road, day, minute = F.col("road"), F.col("local_day"), F.col("local_minute")

    def peak(salt: str, at: float, width: float, low: float, high: float) -> Column:
        middle = chance.between(at - 30, at + 30, f"{salt}/when", road, day)
        # towards the centre in the morning or out of it in the evening: a road is busier at one of the two
        usual = chance.between(0.7, 1.0, f"{salt}/usual", road)
        height = chance.between(low, high, f"{salt}/height", road, day) * usual
        return height * F.exp(-F.pow((minute - middle) / width, 2) / 2)

    working = peak("morning", 465, 55, 0.6, 1.2) + peak("evening", 1035, 75, 0.6, 1.2)
    return F.when(day_off(day), peak("weekend", 840, 150, 0.2, 0.6)).otherwise(working)


def _speed(chance: Chance) -> Column:
    detector, now = F.col("detector"), F.col("now")
    bottleneck = chance.between(0.55, 0.8, "bottleneck", detector)
    flowing = F.col("free") * (F.lit(1.0) - bottleneck * F.least(F.col("congestion"), F.lit(1.0)))
    passing = flowing * (F.lit(1.0) - F.coalesce(F.col("blocked"), F.lit(0.0)))
    noise = chance.drift("noise", now, 20, detector) * 1.8 + chance.normal("sensor", F.col("ts"), detector) * 1.2
    return F.round(F.greatest(F.least(passing + noise, F.lit(160.0)), F.lit(3.0)), 1)


def _local(ts: Column) -> Column:
    return F.date_format(F.from_utc_timestamp(ts, ZONE), LOCAL_TIME)


def _text(speed: Column) -> Column:
    return F.format_string("%.1f", speed)


def _share(value: Column) -> Column:
    """Logistic function: any number -> (0, 1)."""
    return F.lit(1.0) / (F.exp(-value * 1.5) + 1)
