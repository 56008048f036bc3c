"""Features by kind. In YAML each is a one-key mapping: `- calendar: [minute_of_week]`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, field_validator, model_validator

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


class Categories(Kind):
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

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return [self.of]

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return dict.fromkeys(self.names, self.of)


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


class Neighbours(Kind):
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

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return dict.fromkeys(self.names, self.of)


class NetworkMean(Kind):
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

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return dict.fromkeys(self.names, self.of)


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


class Array(Kind):
    """An image or a waveform of the row, as it is: all that a model for arrays sees, so it is the only feature."""

    kind: Literal["array"] = "array"
    of: str
    """Column of type array."""

    @property
    def names(self) -> list[str]:
        """The gold column: bytes of numbers, all of one size."""
        return [self.of]

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return [self.of]


class Waveform(Kind):
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

    @property
    def reads(self) -> list[str]:
        """The series' columns."""
        return [self.of]

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return dict.fromkeys(self.names, self.of)


class Spectrum(Kind):
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

    @property
    def levers(self) -> dict[str, str]:
        """Gold column -> what somebody would turn to move it."""
        return dict.fromkeys(self.names, self.of)


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
        | Array
        | Waveform
        | Spectrum,
        Field(discriminator="kind"),
    ],
    BeforeValidator(one_key("a feature", "- calendar: [minute_of_week]")),
]
