"""Where entities are and how they are: the spots of maps and floor plans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal

from nightmill.config import DataSet, UseCase
from nightmill.lake.entities import columns_of
from nightmill.lake.tables import Lake
from nightmill.report.told import STATUSES, Entities, Plan, Spot, Status

EDGES = 20_000
"""Most edges of a graph that are drawn."""
_FLOOR = {"m", "cm", "ft"}
"""Units of a floor plan; everything else is a map."""

Place = tuple[float, float, str]
"""x, y, area."""
Places = Mapping[str, Mapping[str, Place]]
"""Data set -> entity -> its place."""
Cases = Mapping[str, tuple[UseCase, Mapping[str, DataSet], Entities]]


def places_of(lake: Lake, data_sets: Iterable[DataSet], night: date) -> dict[str, dict[str, Place]]:
    """The places of the entities of all data sets that say where they are."""
    found = {}
    for data_set in data_sets:
        if (place := data_set.place) is None:
            continue
        rows = columns_of(lake, data_set, [place.x, place.y, *([place.area] if place.area else [])], night)
        found[data_set.name] = {
            name: (float(x), float(y), str(area[0]) if area and area[0] is not None else "")
            for name, (x, y, *area) in rows.items()
            if x is not None and y is not None
        }
    return found


def areas_of(
    use_case: UseCase, inputs: Mapping[str, DataSet], data_sets: Iterable[DataSet], places: Places
) -> dict[str, str]:
    """Entity of a use case -> the district or hall in which it stands."""
    mine = [one for one in data_sets if one.name in places and _stands_on(one, use_case, inputs)]
    return {name: area for one in mine for name, (_, _, area) in places[one.name].items()}


def plans_of(lake: Lake, data_sets: Iterable[DataSet], places: Places, cases: Cases) -> list[Plan]:
    """One plan per domain and unit of place; a spot for each entity of which a use case says something."""
    groups: dict[tuple[str, str], list[DataSet]] = {}
    for data_set in data_sets:
        if data_set.place is not None and any(_stands_on(data_set, one[0], one[1]) for one in cases.values()):
            unit = data_set.contract.column(data_set.place.x).unit or ""
            groups.setdefault((data_set.name.split("/")[0], unit), []).append(data_set)
    found = []
    for (domain, unit), members in sorted(groups.items()):
        spots = [spot for data_set in members for spot in _spots(data_set, places[data_set.name], cases)]
        if spots:
            kind: Literal["map", "floor"] = "floor" if unit in _FLOOR else "map"
            found.append(Plan(domain, kind, spots, _edges(lake, spots, cases), unit.startswith(("deg", "°"))))
    return found


def _spots(data_set: DataSet, places: Mapping[str, Place], cases: Cases) -> list[Spot]:
    mine = [one for one in cases.values() if _stands_on(data_set, one[0], one[1])]
    known = [(use_case, entities, {n: i for i, n in enumerate(entities.names)}) for use_case, _, entities in mine]
    found = []
    for name, (x, y, area) in places.items():
        status: Status = "unknown"
        page, parts = "", []
        for use_case, entities, numbers in known:
            if (number := numbers.get(name)) is None:
                continue
            one = entities.status[number]
            parts.append(_said(use_case, entities, number))
            if not page or STATUSES.index(one) < STATUSES.index(status):
                status, page = one, use_case.name
        found.append(Spot(name, x, y, area, status, "; ".join(parts), page))
    return found


def _stands_on(places: DataSet, use_case: UseCase, inputs: Mapping[str, DataSet]) -> bool:
    """Whether the entities of a use case are those of a data set: it reads it, or both have the same key."""
    series = inputs[next(iter(use_case.inputs))]
    if places.name in (one.name for one in inputs.values()):
        return True
    same_domain = places.name.split("/")[0] == series.name.split("/")[0]
    return same_domain and places.contract.entity == series.contract.entity


def _said(use_case: UseCase, entities: Entities, number: int) -> str:
    parts = []
    if entities.value[number] == entities.value[number]:
        parts.append(f"{use_case.target.name.replace('_', ' ')} {entities.value[number]:.4g}")
    if entities.error[number] == entities.error[number]:
        parts.append(f"error {entities.error[number]:.3g}")
    if entities.usual[number] == entities.usual[number]:
        parts.append(f"usually {entities.usual[number]:.3g}")
    return ", ".join(parts)


def _edges(lake: Lake, spots: list[Spot], cases: Cases) -> list[tuple[int, int]]:
    """The edges of the graphs that use cases read, between spots; none where there are too many to see."""
    place = {spot.entity: number for number, spot in enumerate(spots)}
    found: set[tuple[int, int]] = set()
    for use_case, inputs, _ in cases.values():
        for name, item in use_case.inputs.items():
            ends_of = inputs[name].contract.entity
            if item.as_ != "graph" or item.by is not None or len(ends_of) != 2:
                continue
            pairs = columns_of(lake, inputs[name], ends_of).values()
            ends = ((place.get(str(a)), place.get(str(b))) for a, b in pairs)
            found |= {(min(a, b), max(a, b)) for a, b in ends if a is not None and b is not None and a != b}
    return sorted(found) if len(found) <= EDGES else []
