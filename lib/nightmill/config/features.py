"""Features by kind. In YAML each is a one-key mapping: `- calendar: [minute_of_week]`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from nightmill.config.relation import read_formula
from nightmill.config.values import Duration, Options, one_key, short_duration


class Kind(Options):
    """What all kinds say of themselves."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        raise NotImplementedError

    @property
    def reads(self) -> list[str]:
        """The series' columns, and those of static inputs as input.column."""
        raise NotImplementedError

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return {name: name for name in self.names}

    @property
    def reach(self) -> timedelta:
        """How far before a row it looks; a row that changes, changes it so long."""
        return timedelta(0)


class OfColumn(Kind):
    """What all kinds say that work out features of one column."""

    of: str
    """Column of the series."""

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return [self.of]

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return dict.fromkeys(self.names, self.of)


class Columns(Kind):
    """Columns of the series, as they are."""

    kind: Literal["columns"] = "columns"
    of: list[str] = Field(min_length=1)
    """Columns of the series, or of a static input that shares key columns with it, as in machines.age."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [plain(name) for name in self.of]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return list(self.of)

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return {plain(name): name for name in self.of}


class Calendar(Kind):
    """The local time of each row."""

    kind: Literal["calendar"] = "calendar"
    of: list[Literal["minute_of_day", "minute_of_week", "weekday", "weekend", "holiday"]] = Field(min_length=1)
    """minute_of_day 0-1439, minute_of_week 0-10079 from Monday, weekday 0-6 from Monday, weekend and holiday 0 or 1."""
    ahead: Duration | None = None
    """Of the time so long after the row, as of a day that is to be forecast; of the row's own without it."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{name}_{short_duration(self.ahead)}_ahead" for name in self.of] if self.ahead else list(self.of)

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return []


class Categories(OfColumn):
    """Which of several texts a column holds: a feature of 0 or 1 for each, none where it is missing."""

    kind: Literal["categories"] = "categories"
    of: str
    """Column of the series, or of a static input that shares key columns with it, as in machines.model."""
    values: list[str] = Field(min_length=2)
    """The texts; any other is 0 in all."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{plain(self.of)}_{value}" for value in self.values]


class Formula(Kind):
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


class Neighbours(OfColumn):
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


class NetworkMean(OfColumn):
    """Mean of a column over all entities, at the same time."""

    kind: Literal["network_mean"] = "network_mean"
    of: str
    """Column of the series."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{self.of}_mean"]


class Events(Kind):
    """How often something happened before a row, and how long ago the last time.

    An event at the row's own time counts: it is known then. Events belong to a row by the key columns that both inputs
    have, without `by`.
    """

    kind: Literal["events"] = "events"
    of: str
    """Input of the events (as: events)."""
    by: str | None = None
    """Text column of the events: its values are counted apart."""
    values: list[str] = []
    """Those values."""
    within: list[Duration] = []
    """How far back events are counted, one feature each."""
    since: Duration | None = None
    """Adds the hours since the last event; those further back, and none at all, are so long ago."""

    @model_validator(mode="after")
    def _something(self) -> Events:
        if bool(self.by) != bool(self.values):
            raise ValueError("by and values need each other: which column, and which of its texts")
        if not self.within and self.since is None:
            raise ValueError("name within, since or both: what to count, as in within: [24 h, 7 d]")
        return self

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        ends = [short_duration(span) for span in self.within]
        return [f"{what}_{end}" for what in self._whats for end in [*ends, *(["since"] if self.since else [])]]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return []

    @property
    def _whats(self) -> list[str]:
        """What is counted apart."""
        return [f"{self.of}_{value}" for value in self.values] or [self.of]

    @property
    def reach(self) -> timedelta:
        """How long an event is seen."""
        return max([*self.within, *([self.since] if self.since else [])])

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        each = len(self.within) + (self.since is not None)
        return dict(zip(self.names, [what for what in self._whats for _ in range(each)], strict=True))


class Rolling(Kind):
    """What a column's last values of the same entity say: level, spread, trend."""

    kind: Literal["rolling"] = "rolling"
    of: list[str] = Field(min_length=1)
    """Columns of the series."""
    over: list[Duration] = Field(min_length=1)
    """How far back, the row itself included."""
    take: list[Literal["mean", "std", "min", "max", "slope"]] = ["mean"]
    """std: of a sample; slope: of the least-squares line, per hour. Both are missing below two values."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{name}_{how}_{short_duration(span)}" for name in self.of for span in self.over for how in self.take]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return list(self.of)

    @property
    def reach(self) -> timedelta:
        """How long a value is seen."""
        return max(self.over)

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return dict(
            zip(self.names, [name for name in self.of for _ in range(len(self.over) * len(self.take))], strict=True)
        )


class Lag(Kind):
    """A column's value of the same entity some time ago; missing where there is no row at that very time."""

    kind: Literal["lag"] = "lag"
    of: list[str] = Field(min_length=1)
    """Columns of the series."""
    by: list[Duration] = Field(min_length=1)
    """How long ago."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{name}_{short_duration(span)}_ago" for name in self.of for span in self.by]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return list(self.of)

    @property
    def reach(self) -> timedelta:
        """How long a value is seen."""
        return max(self.by)

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return dict(zip(self.names, [name for name in self.of for _ in self.by], strict=True))


class SimilarDays(OfColumn):
    """What a column usually is at a time of day: its middle over the last days that are like the one in question."""

    kind: Literal["similar_days"] = "similar_days"
    of: str
    """Column of the series."""
    days: PositiveInt = 8
    """How many of those days, of which the value is known."""
    within: Duration = timedelta(days=60)
    """How far back they may lie."""
    alike: list[str] = Field(default=["mon-fri", "sat sun"], min_length=1)
    """Which days are like each other: their names, mon to sun, and holiday, apart by a blank, or from-to. Where holiday
    is named a holiday is one whatever its weekday. Days that are not named are like no other."""
    take: Literal["median", "mean"] = "median"
    """Of these days' values."""
    ahead: Duration | None = None
    """Of the time so long after the row, as of a day that is to be forecast; of the row's own without it."""

    @model_validator(mode="after")
    def _each_once(self) -> SimilarDays:
        named = [day for group in self.groups for day in group]
        if twice := [day for day in named if named.count(day) > 1]:
            raise ValueError(f"alike names {twice[0]} twice: a day is like those of one group")
        return self

    @property
    def groups(self) -> list[list[str]]:
        """The days of each group, as mon or holiday. Raises ValueError for a name that is no day."""
        return [[day for word in group.lower().split() for day in _days(word)] for group in self.alike]

    @property
    def names(self) -> list[str]:
        """The gold column."""
        return [f"{self.of}_similar" + (f"_{short_duration(self.ahead)}_ahead" if self.ahead else "")]

    @property
    def reach(self) -> timedelta:
        """How long a value is seen."""
        return self.within


class Array(OfColumn):
    """An image or a waveform of the row, as it is: all that a model for arrays sees, so it is the only feature."""

    kind: Literal["array"] = "array"
    of: str
    """Column of type array."""

    @property
    def names(self) -> list[str]:
        """The gold column: bytes of numbers, all of one size."""
        return [self.of]


class Waveform(OfColumn):
    """What a waveform's samples say as a whole."""

    kind: Literal["waveform"] = "waveform"
    of: str
    """Column of type array."""
    take: list[Literal["rms", "peak", "crest", "kurtosis", "skewness"]] = ["rms", "peak", "crest", "kurtosis"]
    """Of the samples less their mean. rms: root of the mean square; peak: greatest absolute value; crest: peak by rms;
    kurtosis: 3 for a normal distribution."""

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        return [f"{self.of}_{how}" for how in self.take]


class Spectrum(OfColumn):
    """Power of a waveform by frequency: decadic logarithms, in the samples' unit squared per hertz."""

    kind: Literal["spectrum"] = "spectrum"
    of: str
    """Column of type array."""
    rate: float = Field(gt=0, allow_inf_nan=False)
    """Samples per second."""
    bands: NonNegativeInt = 32
    """Bands up to half the rate, each as much wider than the one before, one feature each."""
    envelope: bool = False
    """Of the waveform's envelope instead: how its strength goes up and down, as by a ball that runs over a dent."""
    orders: list[float] = []
    """Multiples of the speed at which something turns, as of a bearing's balls: the power there, one feature each."""
    speed: float | str | None = None
    """Turns per second, or the column that holds them; for orders."""

    @model_validator(mode="after")
    def _something(self) -> Spectrum:
        if bool(self.orders) != (self.speed is not None):
            raise ValueError("orders and speed need each other: multiples, and of how many turns per second")
        if not self.bands and not self.orders:
            raise ValueError("name bands or orders: which powers to take")
        if any(order <= 0 for order in self.orders):
            raise ValueError("orders are above 0")
        return self

    @property
    def names(self) -> list[str]:
        """The gold columns."""
        what = f"{self.of}_envelope" if self.envelope else self.of
        bands = [f"{what}_band{number}" for number in range(1, self.bands + 1)]
        return [*bands, *[f"{what}_order{order:g}" for order in self.orders]]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return [self.of, *([self.speed] if isinstance(self.speed, str) else [])]


WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Days of the week, as `alike` names them."""


def _days(word: str) -> list[str]:
    """Days that `mon`, `mon-fri` or `holiday` means."""
    first, _, last = word.partition("-")
    if word == "holiday" or word in WEEK:
        return [word]
    if first in WEEK and last in WEEK and WEEK.index(first) < WEEK.index(last):
        return [*WEEK[WEEK.index(first) : WEEK.index(last) + 1]]
    raise ValueError(f"'{word}' is no day: write mon, tue, wed, thu, fri, sat, sun or holiday, or from-to as mon-fri")


def plain(name: str) -> str:
    """What a column of another input is called in gold: machines.age is machines_age."""
    return name.replace(".", "_")


Feature = Annotated[
    Annotated[
        Columns
        | Calendar
        | Categories
        | Formula
        | Neighbours
        | NetworkMean
        | Events
        | Rolling
        | Lag
        | SimilarDays
        | Array
        | Waveform
        | Spectrum,
        Field(discriminator="kind"),
    ],
    BeforeValidator(one_key("a feature", "- calendar: [minute_of_week]")),
]
