"""What tables say of entities beside their series: where they are, what they are part of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nightmill.config import DataSet, UseCase
from nightmill.lake.tables import Lake

JOINED = "/"
"""Stands between the parts of an entity's name, where a key has several columns."""
RECENT = timedelta(days=7)
"""Days of a series in which an entity is looked for first."""


def columns_of(lake: Lake, data_set: DataSet, columns: list[str], night: date | None = None) -> dict[str, list[Any]]:
    """Entity -> its first row's values of some columns of silver; of a series lately, if it has rows then."""
    table = lake.table("silver", data_set.name)
    if not table.exists():
        return {}
    keys, source = data_set.contract.entity, table.delta().to_pyarrow_dataset()
    names = list(dict.fromkeys([*keys, *columns]))
    rows = pa.table({})
    if data_set.contract.time is not None and night is not None:
        rows = source.to_table(names, filter=(pc.field("day") > night - RECENT) & (pc.field("day") <= night))
    rows = rows if rows.num_rows else source.to_table(names)
    if data_set.contract.time is not None:
        firsts = rows.group_by(keys, use_threads=False).aggregate([(c, "first") for c in names if c not in keys])
        rows = firsts.rename_columns([name.removesuffix("_first") for name in firsts.column_names])
    values = rows.to_pydict()
    found: dict[str, list[Any]] = {}
    for number, parts in enumerate(zip(*(values[key] for key in keys), strict=True)):
        found.setdefault(JOINED.join(map(str, parts)), [values[column][number] for column in columns])
    return found


def slices_of(lake: Lake, use_case: UseCase, data_sets: Mapping[str, DataSet]) -> dict[str, dict[str, str]]:
    """Column, as in detectors.district -> entity -> value, for what `monitor.by` names."""
    found = {}
    for item in use_case.monitor.by:
        name, column = item.split(".")
        rows = columns_of(lake, data_sets[name], [column])
        found[item] = {entity: str(values[0]) for entity, values in rows.items()}
    return found
