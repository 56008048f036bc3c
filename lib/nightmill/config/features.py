"""Features by kind. In YAML each is a one-key mapping: `- calendar: [minute_of_week]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from nightmill.config.relation import read_formula
from nightmill.config.values import Options, one_key


class Columns(Options):
    """Columns of the series, as they are."""

    kind: Literal["columns"] = "columns"
    of: list[str] = Field(min_length=1)
    """Columns of the series."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return list(self.of)

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return list(self.of)


class Calendar(Options):
    """The local time of each row."""

    kind: Literal["calendar"] = "calendar"
    of: list[Literal["minute_of_day", "minute_of_week", "weekday", "weekend", "holiday"]] = Field(min_length=1)
    """minute_of_day 0-1439, minute_of_week 0-10079 from Monday, weekday 0-6 from Monday, weekend and holiday 0 or 1."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return list(self.of)

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return []


class Categories(Options):
    """Which of several texts a column holds: a feature of 0 or 1 for each, none where it is missing."""

    kind: Literal["categories"] = "categories"
    of: str
    """Column of the series."""
    values: list[str] = Field(min_length=2)
    """The texts; any other is 0 in all."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{self.of}_{value}" for value in self.values]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return [self.of]


class Formula(Options):
    """What follows from other columns of the same row, as in `torque * speed`."""

    kind: Literal["formula"] = "formula"
    of: str
    """Columns of the series, numbers, + - * /, abs, round, least, greatest, brackets; division by 0 gives nothing."""
    name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    """What the feature is called."""

    @field_validator("of")
    @classmethod
    def _readable(cls, value: str) -> str:
        read_formula(value)
        return value

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [self.name]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return list(read_formula(self.of).columns)

    @model_validator(mode="after")
    def _new(self) -> Formula:
        if self.name in self.reads:
            raise ValueError(f"a formula needs a name of its own, not that of the column '{self.name}'")
        return self


class Neighbours(Options):
    """Weighted mean of a column over the neighbours in a graph, at the same time."""

    kind: Literal["neighbours"] = "neighbours"
    of: str
    """Column of the series."""
    over: str
    """Input that holds the graph."""
    along: list[Literal["out", "in", "two_hops"]] = ["out"]
    """Edges that leave the entity, that enter it, or two that leave in a row: one feature each."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{self.of}_{way}" for way in self.along]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return [self.of]


class NetworkMean(Options):
    """Mean of a column over all entities, at the same time."""

    kind: Literal["network_mean"] = "network_mean"
    of: str
    """Column of the series."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{self.of}_mean"]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return [self.of]


Feature = Annotated[
    Annotated[
        Columns | Calendar | Categories | Formula | Neighbours | NetworkMean,
        Field(discriminator="kind"),
    ],
    BeforeValidator(one_key("a feature", "- calendar: [minute_of_week]")),
]
