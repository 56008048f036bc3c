"""The data that the page's script draws from: one compact JSON block, arrays by column, four significant digits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nightmill.report.plan import Drawn
from nightmill.report.told import STATUSES, Chosen, Morning, Panel, Plan, UseCasePage
from nightmill.report.words import rounded

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Signs by which text could end the block, as JSON also writes them."""


def island(morning: Morning, drawn: Sequence[Drawn]) -> Markup:
    """The block's content; names and texts in it end no block, whatever they are."""
    data = {
        "statuses": STATUSES,
        "plans": [_plan(plan, on) for plan, on in zip(morning.plans, drawn, strict=True)],
        "cases": {page.name: _case(page) for page in morning.use_cases},
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign, safe in _UNSAFE.items():
        text = text.replace(sign, safe)
    return Markup(text)


def _plan(plan: Plan, drawn: Drawn) -> dict[str, Any]:
    areas = list(dict.fromkeys(spot.area for spot in plan.spots))
    pages = list(dict.fromkeys(spot.page for spot in plan.spots))
    return {
        "areas": areas,
        "pages": pages,
        "name": [spot.entity for spot in plan.spots],
        "x": [x for x, _ in drawn.points],
        "y": [y for _, y in drawn.points],
        "area": [areas.index(spot.area) for spot in plan.spots],
        "page": [pages.index(spot.page) for spot in plan.spots],
        "status": [STATUSES.index(spot.status) for spot in plan.spots],
        "text": [spot.text for spot in plan.spots],
    }


def _case(page: UseCasePage) -> dict[str, Any]:
    entities = page.entities
    areas = list(dict.fromkeys(entities.area))
    numbers = {name: _column(getattr(entities, name)) for name in ("error", "usual", "value", "lo", "hi")}
    return numbers | {
        "unit": page.unit,
        "zone": page.zone,
        "daily": page.task != "forecast",
        "areas": areas,
        "name": entities.names,
        "area": [areas.index(area) for area in entities.area],
        "status": [STATUSES.index(status) for status in entities.status],
        "chosen": [_chosen(one) for one in page.chosen],
    }


def _chosen(one: Chosen) -> dict[str, Any]:
    return {"name": one.entity, "why": one.why, "panels": [_panel(panel) for panel in one.panels]}


def _panel(panel: Panel) -> dict[str, Any]:
    series = {name: _column(getattr(panel, name)) for name in ("truth", "value", "lo", "hi")}
    return series | {"title": panel.title, "start": round(panel.start.timestamp()), "every": panel.every}


def _column(values: Sequence[float]) -> list[float | int | None]:
    return [rounded(value) for value in values]
