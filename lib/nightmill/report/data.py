"""How the drops of a data set were, out of ops.records and the quarantine."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

import pyarrow.compute as pc

from nightmill.config import DataSet
from nightmill.config.values import DATA
from nightmill.lake.ops import events, fates_by_day, last_records
from nightmill.lake.quarantine import held_days
from nightmill.lake.tables import Lake
from nightmill.report.told import DataPage, DayCounts, Refusal

BEFORE = 14
"""Days before the night's that are shown."""
FATES = ("parsed", "accepted", "refused", "duplicate")
"""In the order of DayCounts."""
LONGEST = 200
"""Characters of a reason."""


def data_page(lake: Lake, data_set: DataSet, day: date) -> DataPage | None:
    """The page of a data set; None where nothing of it has ever landed."""
    subject = f"{DATA}{data_set.name}"
    rows = [row for row in last_records(lake, subject) if row["day"] <= day]
    counts, rules = fates_by_day(rows), Counter[str]()
    for row in rows:
        if row["fate"] == "refused" and row["day"] == day:
            rules[row["rule"]] += row["records"]
    files = held_days(lake, data_set.name)
    if not counts and not files and not lake.table("bronze", data_set.name).exists():
        return None
    static = data_set.contract.time is None
    shown = [day] if static else [day - timedelta(days=n) for n in range(BEFORE, -1, -1)]
    # all rows of a static table are of one day
    told = [counts.get(max(counts) if static and counts else one, {}) for one in shown]
    found = [DayCounts(one, *(fates.get(fate, 0) for fate in FATES)) for one, fates in zip(shown, told, strict=True)]
    reasons = _reasons(lake, data_set.name, day)
    refusals = [Refusal(rule, number, reasons.get(rule, "")) for rule, number in sorted(rules.items())]
    landed = [row["at"] for row in events(lake, "lineage", subject=subject, step="land", direction="wrote")]
    return DataPage(
        name=data_set.name,
        title=data_set.title,
        days=found,
        refusals=sorted(refusals, key=lambda one: -one.records),
        unreadable=[(name, reason[:LONGEST]) for name, reason in files.get(day, [])],
        last_day=None if static else max((d for d, fates in counts.items() if fates.get("accepted")), default=None),
        landed_at=max(landed, default=None),
    )


def _reasons(lake: Lake, name: str, day: date) -> dict[str, str]:
    """Rule -> the reason of one record of that day; never the record itself."""
    table = lake.table("quarantine", name)
    if not table.exists():
        return {}
    of_day = (pc.field("day") == day) & (pc.field("stage") == "clean")
    rows: list[dict[str, Any]] = (
        table.delta().to_pyarrow_table(columns=["rule", "reason"], filters=of_day).group_by("rule")
        .aggregate([("reason", "min")]).to_pylist()
    )  # fmt: skip
    return {row["rule"]: (row["reason_min"] or "")[:LONGEST] for row in rows}
