"""The champion of a night, what it was judged by, and its loss curves."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightmill.lake.ops import events
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.report.told import Figure, Model

log = logging.getLogger(__name__)
CURVES = ("loss", "validation_loss")


def champion_of(lake: Lake, registry: Registry | None, name: str, used: int | None, until: datetime) -> Model | None:
    """The model that made the night's predictions, else the one that was promoted last by then; None before the first.

    What the registry cannot say, because it does not answer or has lost files, is left out.
    """
    told = [row for row in events(lake, "promotions", subject=name) if row["at"] <= until]
    version = used if used is not None else (told[-1]["model_version"] if told else None)
    if version is None:
        return None
    promoted = next((row for row in reversed(told) if row["model_version"] == version), None)
    known = _description(registry, name, version)
    gold, last = known.get("gold", {}), known.get("gold", {}).get("last")
    return Model(
        version=version,
        family=str(known.get("options", {}).get("family", "")),
        since=promoted["at"] if promoted else None,
        reason=promoted["reason"] if promoted else "",
        gold_version=gold.get("version"),
        last_row=datetime.fromtimestamp(last / 1_000_000, UTC) if last else None,
        files=len(gold["files"]) if "files" in gold else None,
        interval=known.get("interval", {}).get("share"),
        curves=_curves(registry, name, version),
    )


def figures_of(lake: Lake, name: str, until: datetime) -> list[Figure]:
    """Figures of the last evaluation by then: candidate, champion and baselines on the test part."""
    told = [row for row in events(lake, "metrics", subject=name, step="evaluate") if row["at"] <= until]
    if not told:
        return []
    run = told[-1]["run_id"]
    return [Figure(r["of"], r["metric"], r["horizon"], r["value"]) for r in told if r["run_id"] == run]


def _asked(registry: Registry | None) -> bool:
    """Whether there is a registry to ask: asking a SQLite file that is not there would make one."""
    if registry is None:
        return False
    path = registry.uri.removeprefix("sqlite:///")
    return path == registry.uri or Path(path).exists()


def _description(registry: Registry | None, name: str, version: int) -> Mapping[str, Any]:
    if registry is None or not _asked(registry):
        return {}
    try:
        return dict(json.loads(registry.load(name, version)["model.json"]))
    except Exception as error:  # the report is written whatever the registry's state is
        log.warning("%s: version %d could not be read: %s", name, version, error)
        return {}


def _curves(registry: Registry | None, name: str, version: int) -> dict[str, list[tuple[int, float]]]:
    if registry is None or not _asked(registry):
        return {}
    try:
        return registry.curves(name, version, CURVES)
    except Exception as error:
        log.warning("%s: the loss curves of version %d could not be read: %s", name, version, error)
        return {}
