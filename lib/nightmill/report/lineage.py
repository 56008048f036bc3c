"""The way from a night's predictions back to raw files, out of ops.lineage."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from nightmill.config.values import DATA
from nightmill.lake.ops import events
from nightmill.lake.tables import Lake
from nightmill.report.told import Link, Model


def lineage_of(lake: Lake, name: str, champion: Model | None, until: datetime) -> list[Link]:
    """Predictions, model, gold, silver and bronze with their versions, and how many files those rest on."""
    told = [row for row in events(lake, "lineage") if row["at"] <= until]
    found: list[Link] = []
    scored = _last(told, "score", name, f"predictions/{name}")
    gold = None
    if scored:
        found.append(Link(scored["table"], scored["version"], f"run {scored['run_id']}"))
        gold = _read(told, scored).get(f"gold/{name}")
    if champion:
        on = f"trained on version {champion.gold_version} of gold" if champion.gold_version is not None else ""
        found.append(Link(f"model {name}", champion.version, on))
    made = _last(told, "features", name, f"gold/{name}", gold)
    if gold is not None or made:
        found.append(Link(f"gold/{name}", gold if gold is not None else made["version"] if made else None))
    for table, version in sorted((_read(told, made) if made else {}).items()):
        found.append(Link(table, version))
        data = table.removeprefix("silver/")
        cleaned = _last(told, "clean", f"{DATA}{data}", table, version)
        bronze = _read(told, cleaned).get(f"bronze/{data}") if cleaned else None
        if bronze is not None:
            files = _files(lake, data, bronze)
            found.append(Link(f"bronze/{data}", bronze, f"{files:,} raw files".replace(",", "\u202f") if files else ""))
    return found


def _last(told: list[dict[str, Any]], step: str, subject: str, table: str, until: int | None = None) -> Any:
    """The last event by which a step wrote a table, up to a version."""
    for row in reversed(told):
        same = (row["step"], row["subject"], row["table"], row["direction"]) == (step, subject, table, "wrote")
        if same and (until is None or row["version"] <= until):
            return row
    return None


def _read(told: list[dict[str, Any]], wrote: dict[str, Any]) -> dict[str, int]:
    """Table -> version of what the step read that wrote a table."""
    same = [wrote[name] for name in ("run_id", "step", "subject", "at")]
    rows = (r for r in told if r["direction"] == "read" and [r[n] for n in ("run_id", "step", "subject", "at")] == same)
    return {row["table"]: row["version"] for row in rows}


def _files(lake: Lake, name: str, version: int) -> int:
    """Raw files that had landed in a version of bronze."""
    ops = lake.table("ops", "files")
    if not ops.exists():
        return 0
    mine = (pc.field("subject") == f"{DATA}{name}") & (pc.field("version") <= version)
    rows = ops.delta().to_pyarrow_table(columns=["version", "file", "hash"], filters=mine).sort_by("version")
    there: set[str] = set()
    for file, digest in zip(rows["file"].to_pylist(), rows["hash"].to_pylist()):
        (there.discard if digest is None else there.add)(file)
    return len(there - {""})
