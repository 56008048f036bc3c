"""What a morning report tells, as plain values: gathered from the tables, drawn by `render`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

State = Literal["done", "nothing", "failed", "skipped", "killed"]
Status = Literal["alarm", "worse", "normal", "unknown"]
STATUSES: tuple[Status, ...] = ("alarm", "worse", "normal", "unknown")
"""How an entity is, worst first."""
UNKNOWN = float("nan")


@dataclass(frozen=True)
class Ran:
    """What became of one stage of one data set or use case."""

    stage: str
    subject: str
    state: State
    what: str = ""
    fix: str = ""
    """What to do where it failed."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Alarm:
    """An alarm as the night left it."""

    subject: str
    kind: str
    slice: str
    state: str
    """raised, stays or cleared."""
    what: str
    value: float
    limit: float
    since: date

    @property
    def is_up(self) -> bool:
        """Whether somebody should look at it."""
        return self.state != "cleared"


@dataclass(frozen=True)
class Refusal:
    """Records that a rule refused on the night's day."""

    rule: str
    records: int
    reason: str
    """Of one of them."""


@dataclass(frozen=True)
class DayCounts:
    """Records of one day of a data set."""

    day: date
    parsed: int = 0
    accepted: int = 0
    refused: int = 0
    duplicates: int = 0


@dataclass(frozen=True)
class DataPage:
    """How the drops of a data set were."""

    name: str
    title: str
    days: list[DayCounts]
    """The night's day last, and those before it."""
    refusals: list[Refusal]
    unreadable: list[tuple[str, str]]
    """Files of the day that are in quarantine whole, and why."""
    last_day: date | None
    """Newest day of which records were accepted; None of a static table."""
    landed_at: datetime | None

    @property
    def night(self) -> DayCounts:
        """The night's own day."""
        return self.days[-1]


@dataclass(frozen=True)
class Figure:
    """One figure of one contestant on the test part."""

    of: str
    metric: str
    horizon: int | None
    value: float


@dataclass(frozen=True)
class Model:
    """The champion of the night."""

    version: int
    family: str = ""
    since: datetime | None = None
    reason: str = ""
    """Why it was promoted."""
    gold_version: int | None = None
    last_row: datetime | None = None
    """Time of the last row of the table that it was trained on."""
    files: int | None = None
    interval: float | None = None
    """Share of true values that should lie between lo and hi."""
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """loss, validation_loss -> (epoch, value)."""


@dataclass(frozen=True)
class Live:
    """Live error of one day."""

    day: date
    mae: float
    naive: float = UNKNOWN
    """Mean absolute error of the value at the origin."""
    coverage: float = UNKNOWN


@dataclass(frozen=True)
class Part:
    """Live error of one slice or horizon on the last day with truth."""

    name: str
    mae: float
    usual: float = UNKNOWN
    coverage: float = UNKNOWN


@dataclass(frozen=True)
class Entities:
    """All entities of a use case, one array item each."""

    names: list[str]
    area: list[str]
    status: list[Status]
    error: list[float]
    """Mean absolute error on the last day with truth, NaN without."""
    usual: list[float]
    """Mean absolute error over the days before."""
    value: list[float]
    """The night's last prediction, of the longest horizon."""
    lo: list[float]
    hi: list[float]

    def of(self, status: Status) -> list[str]:
        """Names of those with a status."""
        return [name for name, one in zip(self.names, self.status) if one == status]


@dataclass(frozen=True)
class Panel:
    """Truth and predictions of one entity on a regular grid of times."""

    title: str
    start: datetime
    every: float
    """Seconds."""
    truth: list[float]
    value: list[float]
    lo: list[float]
    hi: list[float]


@dataclass(frozen=True)
class Chosen:
    """An entity whose series are shown."""

    entity: str
    why: str
    panels: list[Panel]


@dataclass(frozen=True)
class Link:
    """One table on the way from raw files to a prediction."""

    what: str
    version: int | None
    more: str = ""


@dataclass(frozen=True)
class UseCasePage:
    """What is told of one use case."""

    name: str
    title: str
    inputs: list[str]
    """The data sets that it reads, as data/city/air."""
    task: str
    target: str
    unit: str
    zone: str
    metric: str
    """The figure that decides promotion."""
    champion: Model | None
    verdict: str
    figures: list[Figure]
    live: list[Live]
    horizons: list[Part]
    slices: list[Part]
    predictions: int
    """Predicted values of the night."""
    entities: Entities
    chosen: list[Chosen]
    error_day: date | None
    """Day of the entities' errors."""
    lineage: list[Link]
    step: str
    """Step between rows, as 5 min."""
    factor: float
    """Error as a multiple of the usual one above which it is an alarm."""
    limits: tuple[float | None, float | None] = (None, None)
    """Values below and above which an entity is an alarm."""
    fallbacks: int = 0
    """Predicted values of the night by a naive rule, where the model could not predict."""


@dataclass(frozen=True)
class Spot:
    """An entity on a plan."""

    entity: str
    x: float
    y: float
    area: str
    status: Status
    text: str
    """What a reader who asks for it is told."""
    page: str = ""
    """The use case that says more."""


@dataclass(frozen=True)
class Plan:
    """A map of a city or a floor plan of a plant."""

    domain: str
    kind: Literal["map", "floor"]
    spots: list[Spot]
    edges: list[tuple[int, int]]
    """Positions of spots that belong together."""
    degrees: bool = False
    """Whether places are longitude and latitude."""

    def count(self, status: Status) -> int:
        """Spots with a status."""
        return sum(spot.status == status for spot in self.spots)


@dataclass(frozen=True)
class Morning:
    """The report of a night."""

    day: date
    steps: list[Ran]
    alarms: list[Alarm]
    """Those that were raised first, those that ended last."""
    plans: list[Plan]
    use_cases: list[UseCasePage]
    data: list[DataPage]
    run_ids: list[str]
    began: datetime | None
    seconds: float | None
    """How long the night took."""
    lake: str
    version: str
    made: datetime
    idle: list[str] = field(default_factory=list)
    """Use cases that are configured and not in use."""
