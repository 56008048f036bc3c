"""Dirt of whole files: a damaged one, the same one again, one with a renamed column. They lie beside a day's good file.

Which days they befall is a function of seed, data set and day alone.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nightmill.simulate.chance import Chance
from nightmill.simulate.drops import Drops
from nightmill.simulate.places import copy, put, rooted

KINDS = ("unreadable_file", "same_file_again", "renamed_column")
RATE = 0.15
"""Share of days that each kind befalls in a data set that gets it."""
_ADDED = {"unreadable_file": "_part", "same_file_again": "_again", "renamed_column": "_export"}
_SAMPLE = 3


@dataclass(frozen=True)
class Case:
    """One file too many."""

    kind: str
    """Of KINDS."""
    day: date
    """In whose drop it lies."""
    file: str
    """Its name."""


def cases(drops: Drops, days: Sequence[date], chance: Chance) -> list[Case]:
    """The damage in the drops of these days."""
    stem, dot, ending = drops.file.partition(".")
    return [
        Case(kind, day, f"{stem}{_ADDED[kind]}{dot}{ending}")
        for day in days
        for kind in drops.damage
        if chance.once(f"damage/{kind}", drops.data_set, day.isoformat()) < RATE
    ]


def write(spark: SparkSession, raw: str, drops: Drops, found: Sequence[Case]) -> None:
    """Puts the files of these cases beside the good ones, which must be there."""
    for case in found:
        folder = f"{rooted(raw)}/{drops.data_set}/{case.day}"
        good, bad = f"{folder}/{drops.file}", f"{folder}/{case.file}"
        if case.kind == "same_file_again":
            copy(spark, good, bad)
        elif case.kind == "renamed_column":
            put(spark, bad, _renamed(spark, drops, good))
        else:
            put(spark, bad, _unreadable(drops, case.day))


def truth(spark: SparkSession, data_set: str, found: Sequence[Case]) -> DataFrame:
    """Rows as those of `dirt.plant`; a file's case has no entity and no time."""
    rows = [(data_set, c.kind, None, None, f"{data_set}/{c.day}/{c.file}", c.day) for c in found]
    types = "data_set string, kind string, entity string, ts string, file string, drop date"
    return spark.createDataFrame(rows, types)


def _renamed(spark: SparkSession, drops: Drops, good: str) -> bytes:
    """The last column under another name, over the first records of the good file."""
    head = drops.separator.join([*drops.names[:-1], f"{drops.names[-1]}_v2"])
    first = spark.read.text(good).where(F.col("value") != drops.separator.join(drops.names)).head(_SAMPLE)
    text = "".join(f"{line}\n" for line in [head, *(row["value"] for row in first)]).encode()
    return gzip.compress(text, mtime=0) if drops.file.endswith(".gz") else text


def _unreadable(drops: Drops, day: date) -> bytes:
    """As an interrupted transfer or a wrong program leaves it: no whole gzip, no Parquet, no UTF-8."""
    text = (drops.separator.join(drops.names) + f"\n{day}" * 50).encode()
    if drops.file.endswith(".gz"):
        return gzip.compress(text, mtime=0)[:-12]
    if drops.form == "parquet":
        return b"PAR1" + text
    return b"\xff\xfe" + text.decode().encode("utf-16-le")
