"""What became of every record: parsed = accepted + refused + duplicates, by file, day and rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from nightmill.clean.records import BROKEN, CHANGED, TOLD, Reason

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WHOLE_DAY = "day"
"""Rule of good records that are refused with their whole day."""
Place = tuple[date, str]
"""Day and file."""


@dataclass
class Counts:
    """The records of one day: parsed = accepted + refused + duplicates."""

    parsed: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Rule -> records, those dropped without a trace among them."""
    changed: Counter[str] = field(default_factory=Counter)
    """Column and rule, as in `speed stuck` -> accepted records with a changed value."""
    filled: int = 0
    """Rows that stand in gaps."""
    failing: str = ""
    """A rule that refuses the whole day, if one was broken."""
    example: str = ""

    @property
    def refused_share(self) -> float:
        """Share of parsed records that a rule refused."""
        return sum(self.refused.values()) / self.parsed if self.parsed else 0.0

    def add_changes(self, changed: str | None, records: int) -> None:
        """Adds records whose `_changed` says this."""
        for change in (changed or "").split("; "):
            if change:
                self.changed[change] += records

    def add(self, other: Counts) -> None:
        """Adds another day's or file's records."""
        self.parsed += other.parsed
        self.accepted += other.accepted
        self.duplicates += other.duplicates
        self.refused += other.refused
        self.changed += other.changed
        self.filled += other.filled
        self.failing, self.example = self.failing or other.failing, self.example or other.example


class Account:
    """Counts by day and file, put together from what was read, refused and written."""

    def __init__(self) -> None:
        self.places: dict[Place, Counts] = {}

    def of(self, day: date, file: str | None) -> Counts:
        """The counts of a day's records in a file."""
        return self.places.setdefault((day, file or ""), Counts())

    def by_day(self) -> dict[date, Counts]:
        """The same by day."""
        days: dict[date, Counts] = {}
        for (day, _), counts in sorted(self.places.items()):
            days.setdefault(day, Counts()).add(counts)
        return days

    def parsed(self, raw: DataFrame) -> None:
        """Counts raw records; each of a wide file is as many as it has values."""
        for row in raw.groupBy(F.col("_record_day").alias("day"), "_file").count().collect():
            self.of(row["day"], row["_file"]).parsed += row["count"]

    def judged(self, rows: DataFrame, reasons: list[Reason]) -> None:
        """Counts records without their duplicates: refused by rules, or accepted, maybe with changed values."""
        refused = F.col(BROKEN).isNotNull()
        groups = rows.groupBy("day", "_file", BROKEN, F.when(~refused, F.col(CHANGED)).alias(CHANGED))
        for row in groups.agg(F.count("*").alias("n"), F.min(F.col(TOLD)["reason"]).alias("example")).collect():
            counts = self.of(row["day"], row["_file"])
            if row[BROKEN] is None:
                counts.accepted += row["n"]
                counts.add_changes(row[CHANGED], row["n"])
                continue
            why = reasons[row[BROKEN]]
            counts.refused[why.rule] += row["n"]
            example = f"{why.rule}: {row['example']}"
            counts.example = min(filter(None, (counts.example, example)))
            if why.then == "fail":
                counts.failing = example

    def changed(self, rows: DataFrame) -> None:
        """Counts the changed values of accepted records anew."""
        for counts in self.places.values():
            counts.changed.clear()
        for row in rows.groupBy("day", "_file", CHANGED).count().collect():
            self.of(row["day"], row["_file"]).add_changes(row[CHANGED], row["count"])

    def filled(self, rows: DataFrame) -> None:
        """Counts rows that stand in gaps."""
        for row in rows.groupBy("day").count().collect():
            self.of(row["day"], None).filled += row["count"]

    def close(self, refused_days: set[date]) -> None:
        """What was read and is neither refused nor accepted were duplicates, but on days that are refused whole."""
        for (day, _), counts in self.places.items():
            rest = counts.parsed - counts.accepted - sum(counts.refused.values())
            if day not in refused_days:
                counts.duplicates = rest
            elif rest + counts.accepted:
                counts.refused[WHOLE_DAY] += rest + counts.accepted
                counts.accepted = 0
                counts.changed.clear()

    def events(self) -> list[dict[str, Any]]:
        """Rows of ops.records: the number of records by day, file, fate and rule."""
        rows: list[dict[str, Any]] = []
        for (day, file), counts in sorted(self.places.items()):
            fates = {("accepted", ""): counts.accepted, ("duplicate", ""): counts.duplicates}
            fates |= {("parsed", ""): counts.parsed, ("filled", ""): counts.filled}
            fates |= {("refused", rule): n for rule, n in counts.refused.items()}
            fates |= {("changed", rule): n for rule, n in counts.changed.items()}
            rows += [
                {"day": day, "file": file, "fate": fate, "rule": rule, "records": n}
                for (fate, rule), n in fates.items()
                if n
            ]
        return rows
