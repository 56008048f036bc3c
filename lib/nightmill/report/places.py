"""Where entities are and how they are: the spots of maps and floor plans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from nightmill.config import DataSet, UseCase
from nightmill.errors import NightmillError
from nightmill.lake.tables import Lake
from nightmill.report.told import STATUSES, Entities, Plan, Spot, Status

EDGES = 20_000
"""Most edges of a graph that are drawn."""
_FLOOR = {"m", "cm", "ft"}
"""Units of a floor plan; everything else is a map."""

Place = tuple[float, float, str]
"""x, y, area."""
Cases = Mapping[str, tuple[UseCase, Mapping[str, DataSet], Entities]]


def columns_of(lake: Lake, data_set: DataSet, columns: list[str]) -> dict[str, list[Any]]:
    """Entity -> its first row's values of some columns of silver."""
    table = lake.table("silver", data_set.name)
    if not table.exists():
        return {}
    keys = data_set.contract.entity
    rows = table.delta().to_pyarrow_dataset().to_table(list(dict.fromkeys([*keys, *columns])))
    if data_set.contract.time is not None:
        # whatever row of it comes first: a place does not move
        firsts = rows.group_by(keys, use_threads=False).aggregate([(c, "first") for c in columns if c not in keys])
        rows = firsts.rename_columns([name.removesuffix("_first") for name in firsts.column_names])
    values = rows.to_pydict()
    names = ["|".join(str(part) for part in parts) for parts in zip(*(values[key] for key in keys), strict=True)]
    found: dict[str, list[Any]] = {}
    for number, name in enumerate(names):
        found.setdefault(name, [values[column][number] for column in columns])
    return found


def slices_of(lake: Lake, use_case: UseCase, data_sets: Mapping[str, DataSet]) -> dict[str, dict[str, str]]:
    """Column, as in detectors.district -> entity -> value, for what `monitor.by` names."""
    found = {}
    for item in use_case.monitor.by:
        name, column = item.split(".")
        rows = columns_of(lake, data_sets[name], [column])
        found[item] = {entity: str(values[0]) for entity, values in rows.items()}
    return found


def plans_of(lake: Lake, data_sets: Iterable[DataSet], cases: Cases) -> list[Plan]:
    """One plan per domain and unit of place; a spot for each entity of the data sets that say where they are."""
    groups: dict[tuple[str, str], list[DataSet]] = {}
    for data_set in data_sets:
        if data_set.place is not None:
            unit = data_set.contract.column(data_set.place.x).unit or ""
            groups.setdefault((data_set.name.split("/")[0], unit), []).append(data_set)
    found = []
    for (domain, unit), members in sorted(groups.items()):
        spots = [spot for data_set in members for spot in _spots(lake, data_set, cases)]
        if spots:
            edges = _edges(lake, spots, cases)
            kind: Literal["map", "floor"] = "floor" if unit in _FLOOR else "map"
            titles = ", ".join(member.title for member in members)
            found.append(Plan(domain, kind, titles, spots, edges, unit.startswith(("deg", "°"))))
    return found


def _spots(lake: Lake, data_set: DataSet, cases: Cases) -> list[Spot]:
    place = data_set.place
    assert place is not None
    columns = [place.x, place.y, *([place.area] if place.area else [])]
    mine = [one for one in cases.values() if _stands_on(data_set, one[0], one[1])]
    known = [(use_case, entities, {n: i for i, n in enumerate(entities.names)}) for use_case, _, entities in mine]
    found = []
    for name, values in columns_of(lake, data_set, columns).items():
        if values[0] is None or values[1] is None:
            continue
        status: Status = "unknown"
        page, parts = "", []
        for use_case, entities, numbers in known:
            if (number := numbers.get(name)) is None:
                continue
            one = entities.status[number]
            parts.append(_said(use_case, entities, number))
            if not page or STATUSES.index(one) < STATUSES.index(status):
                status, page = one, use_case.name
        area = str(values[2]) if place.area and values[2] is not None else ""
        found.append(Spot(name, float(values[0]), float(values[1]), area, status, "; ".join(parts), page))
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
            if item.as_ != "graph" or item.by is not None or len(inputs[name].contract.entity) != 2:
                continue
            try:
                pairs = columns_of(lake, inputs[name], inputs[name].contract.entity).values()
            except NightmillError:  # a map without its edges is still one
                continue
            ends = ((place.get(str(a)), place.get(str(b))) for a, b in pairs)
            found |= {(min(a, b), max(a, b)) for a, b in ends if a is not None and b is not None and a != b}
    return sorted(found) if len(found) <= EDGES else []
