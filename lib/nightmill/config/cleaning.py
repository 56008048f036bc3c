"""From bronze to silver: rules, filters, gaps, as data."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from nightmill.config.relation import Relation, read_relation
from nightmill.config.values import DATA, Duration, Fraction, Options, one_key

Action = Annotated[
    Literal["quarantine", "drop", "null", "clip", "fail"], BeforeValidator(lambda v: "null" if v is None else v)
]
"""YAML reads a bare null as nothing."""


class Rule(Options):
    """What all rules have."""

    then: Action = "quarantine"
    """quarantine refuses the record and keeps it; drop refuses it and keeps only its count; null empties the value;
    clip moves it to the nearest bound; fail refuses the whole day."""

    @property
    def named(self) -> list[str]:
        """Columns that the rule names."""
        return [str(getattr(self, "of"))]  # noqa: B009


class Range(Rule):
    """A number lies between two bounds, both included."""

    kind: Literal["range"] = "range"
    of: str
    """Column."""
    between: tuple[float, float]
    """Lowest and highest value allowed."""

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.between[0] <= self.between[1]:
            raise ValueError(f"between {list(self.between)} allows nothing: write the lowest value first")
        return self


class OneOf(Rule):
    """A text is one of a set."""

    kind: Literal["one_of"] = "one_of"
    of: str
    """Column."""
    values: list[str] = Field(min_length=1)
    """The texts allowed."""


class Matches(Rule):
    """A whole text matches a regular expression."""

    kind: Literal["matches"] = "matches"
    of: str
    """Column."""
    pattern: str
    """Regular expression."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"'{value}' is not a regular expression: {error}") from None
        return value


class Related(Rule):
    """A relation between columns holds; records in which one of them is missing pass."""

    kind: Literal["relation"] = "relation"
    that: str
    """As in casual + registered = total: columns, numbers, + - * / %, = <> < <= > >=, and, or, not, abs, round."""

    @field_validator("that")
    @classmethod
    def _reads(cls, value: str) -> str:
        read_relation(value)
        return value

    @cached_property
    def relation(self) -> Relation:
        """The relation as it is evaluated."""
        return read_relation(self.that)

    @property
    def named(self) -> list[str]:
        """Columns that the relation names."""
        return list(self.relation.columns)


class Stuck(Rule):
    """A sensor does not report one and the same value for too long, within a local day."""

    kind: Literal["stuck"] = "stuck"
    of: str
    """Column."""
    lasting: Duration = Field(alias="for")
    """A run of equal values from its first record to its last that is at least so long is stuck. A hole as long ends
    it: nobody knows what was in it."""
    except_: list[float] = Field([], alias="except")
    """Values that may stand still, as 0 of a pump at rest."""


class Spike(Rule):
    """A value does not leave both its neighbours in time, on the same side, within a local day."""

    kind: Literal["spike"] = "spike"
    of: str
    """Column."""
    by: float = Field(gt=0)
    """A value that lies further than this from the one before and the one after is a spike."""


class Monotone(Rule):
    """A counter does not fall, within a local day; a fall that stays is a new counter."""

    kind: Literal["monotone"] = "monotone"
    of: str
    """Column."""


class Known(Rule):
    """A value exists in another data set's silver."""

    kind: Literal["known"] = "known"
    of: str
    """Column."""
    in_: str = Field(alias="in")
    """Data set, as in data/city/detectors; where the entity has several columns, `as` says which."""
    as_: str | None = Field(None, alias="as")
    """Column there; the one of the same name without it."""

    @property
    def master(self) -> str:
        """Name of that data set."""
        return self.in_.removeprefix(DATA)

    @property
    def column(self) -> str:
        """Name of the column there."""
        return self.as_ or self.of


_RULES = Annotated[
    Range | OneOf | Matches | Related | Stuck | Spike | Monotone | Known,
    Field(discriminator="kind"),
]


def _rule(value: Any) -> Any:
    short = "that" if isinstance(value, dict) and "relation" in value else "of"
    return one_key("a rule", "- stuck: {of: speed, for: 1 h, then: null}", short)(value)


AnyRule = Annotated[_RULES, BeforeValidator(_rule)]
SEQUENCE = (Stuck, Spike, Monotone)
"""Rules that look at the records before and after."""


class Hampel(Options):
    """Values far from the median around them become that median, within a local day (Hampel 1974; Pearson 2002)."""

    kind: Literal["hampel"] = "hampel"
    of: str
    """Column."""
    window: int = Field(7, ge=3)
    """Records that a median is of, an odd number."""
    sigmas: float = Field(3.0, gt=0)
    """How many robust standard deviations (1.4826 x median absolute deviation) are far."""


class Median(Options):
    """Every value becomes the median around it, within a local day (Tukey 1977)."""

    kind: Literal["median"] = "median"
    of: str
    """Column."""
    window: int = Field(5, ge=3)
    """Records that a median is of, an odd number."""


Filter = Annotated[
    Annotated[Hampel | Median, Field(discriminator="kind")],
    BeforeValidator(one_key("a filter", "- hampel: {of: level, window: 7}")),
]


class Axis(Options):
    """One axis of a grid."""

    column: str
    """Column of the coordinate."""
    from_: float = Field(alias="from")
    """Where the first cell begins."""
    to: float
    """Where the last cell ends."""
    parts: int = Field(ge=1)
    """How many cells of equal size."""

    @model_validator(mode="after")
    def _in_order(self) -> Axis:
        if self.from_ >= self.to:
            raise ValueError(f"from {self.from_:g} to {self.to:g} spans nothing: write the lower end first")
        return self


class Grid(Options):
    """Cells of a map; places outside are refused."""

    entity: str
    """Column that receives the cell's name, as in 3-7: column, row, from 0 in the corner of both `from`."""
    x: Axis
    """West to east."""
    y: Axis
    """South to north."""
    outside: Literal["quarantine", "drop"] = "quarantine"
    """What becomes of records outside."""


class Events(Options):
    """Records are events: silver has their number per entity and step, zeros included."""

    count: str
    """Column that receives the number."""
    grid: Grid | None = None
    """Set where events have places and the cells of a map are the entities."""
    identity: list[str] | None = None
    """Columns by which a doubled report of an event is known; all raw columns without it."""
    at_least: int = Field(1, ge=1)
    """Days with fewer events than this are days without data: they get no rows, and no zeros."""


How = Literal["mean", "sum", "min", "max", "first", "last", "median"]


class Gaps(Options):
    """How missing steps of one entity are filled, within its local day."""

    fill: Literal["interpolate", "forward"]
    """Straight line between neighbours, whole numbers and texts as the last one; or the last value."""
    at_most: Duration
    """Longest gap that is filled; longer ones stay gaps."""


class Clean(Options):
    """From bronze to silver: rules, then duplicates, then what looks along time, then filters, steps and gaps."""

    rules: list[AnyRule] = []
    """Rules beside those of the columns. Those on single records come first, in this order, and each sees what the ones
    before it made; then stuck, spike and monotone, which all see the same values."""
    duplicates: Literal["keep_last", "keep_first"] = "keep_last"
    """Which of several rows with one key stays, by drop day, then file, then source.row_number where it is set, then
    content."""
    filters: list[Filter] = []
    """Filters against outliers and noise, in this order."""
    events: Events | None = None
    """Set where records are events that are counted."""
    resample: How | dict[str, How] | None = None
    """Brings records to the step of contract.time: how values of one step merge, for all numbers or by column; other
    columns keep the last."""
    gaps: Gaps | None = None
    """Absent: gaps stay."""
    max_refused: Fraction = 0.2
    """Above this share of refused records a day is refused whole."""

    @model_validator(mode="after")
    def _one_way(self) -> Clean:
        if self.events and (self.resample or self.gaps or self.filters):
            raise ValueError("events are counted: leave out resample, gaps and filters")
        for item in self.filters:
            if item.window % 2 == 0:
                raise ValueError(f"a window of {item.window} records has no middle: write an odd number")
        return self
