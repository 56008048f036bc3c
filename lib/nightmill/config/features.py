"""Features by kind. In YAML each is a one-key mapping: `- calendar: [minute_of_week]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from nightmill.config.values import Options, one_key


class Columns(Options):
    """Columns of the series, as they are."""

    kind: Literal["columns"] = "columns"
    of: list[str] = Field(min_length=1)
    """Columns of the series."""


class Calendar(Options):
    """The local time of each row."""

    kind: Literal["calendar"] = "calendar"
    of: list[Literal["minute_of_day", "minute_of_week", "weekday", "weekend", "holiday"]] = Field(min_length=1)
    """minute_of_day 0-1439, minute_of_week 0-10079 from Monday, weekday 0-6 from Monday, weekend and holiday 0 or 1."""


class Neighbours(Options):
    """Weighted mean of a column over the neighbours in a graph, at the same time."""

    kind: Literal["neighbours"] = "neighbours"
    of: str
    """Column of the series."""
    over: str
    """Input that holds the graph."""
    along: list[Literal["out", "in", "two_hops"]] = ["out"]
    """Edges that leave the entity, that enter it, or two that leave in a row: one feature each."""


class NetworkMean(Options):
    """Mean of a column over all entities, at the same time."""

    kind: Literal["network_mean"] = "network_mean"
    of: str
    """Column of the series."""


Feature = Annotated[
    Annotated[Columns | Calendar | Neighbours | NetworkMean, Field(discriminator="kind")],
    BeforeValidator(one_key("a feature", "- calendar: [minute_of_week]")),
]
