"""What a model sees and predicts, and what was fitted on its training rows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

MINUTES_PER_DAY = 1440
WEEKEND = 5 * MINUTES_PER_DAY
"""Minute of the week at which Saturday begins; weeks begin on Monday."""
CLOCK = "minute_of_week"
"""The feature from which a model knows the local time of its origin."""

FOLDS = 8
"""Groups of local days, day number modulo this, of which profiles are left out in training."""

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """What goes into a model and what comes out."""

    features: tuple[str, ...]
    """Names of the input's columns, in order."""
    lookback: int
    """Rows of history in a window."""
    horizon: int
    """Steps ahead that are predicted; 0 for a value of the origin's own row."""
    pad: bool
    """Whether histories shorter than the lookback are padded on the left with their first row."""
    entities: int
    """Size of the entity vocabulary, without code 0 of the unknown."""
    past: str | None
    """The feature that is the target's own past; None where the past is not known (remaining life)."""
    every: float
    """Minutes between rows."""
    low: float | None = None
    """The least value that the target can have; None where it has no least."""
    high: float | None = None
    """The greatest."""
    head: str = "point"
    """What is predicted of each value; one of `nightmill.models.heads`."""
    levels: tuple[float, ...] = ()
    """Head quantiles: its levels, ascending, an odd number round 0.5."""
    classes: tuple[str, ...] = ()
    """Head classes: their names."""
    array: tuple[int, ...] = ()
    """Size along each axis of the array that is seen instead of numbers; none where numbers are seen."""
    array_type: str = ""
    """Its number type: uint8 or float32."""

    @property
    def steps(self) -> int:
        """Predicted values per origin."""
        return max(self.horizon, 1)

    @property
    def ahead(self) -> NDArray[np.int64]:
        """[steps] rows after the origin that are predicted; 0 for the origin's own."""
        return rows_ahead(self.horizon)

    @property
    def slots(self) -> int:
        """Steps in a local day (at least one), the resolution of time-of-day profiles."""
        return max(1, round(MINUTES_PER_DAY / max(self.every, 1.0)))

    @property
    def sorts(self) -> int:
        """Classes that are told apart, 0 where the target is a number."""
        return 2 if self.head == "probability" else len(self.classes)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of the input."""
        size = np.dtype(self.array_type).itemsize if self.array else 4 * len(self.features)
        return size * math.prod(self.array)

    @property
    def has_interval(self) -> bool:
        """Whether predictions have one; a probability, a class and a health index have none."""
        return not self.sorts and self.head != "anomaly"

    def within(self, values: Any) -> Any:
        """The same array or tensor, values that the target cannot have moved to the nearest that it can."""
        return values if self.low is None and self.high is None else values.clip(self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Shape:
        """The inverse of `to_json`."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        return cls(**plain)


class Windows(Protocol):
    """The part of a hand-off batch that a model looks at."""

    @property
    def x(self) -> Tensor: ...
    @property
    def entity(self) -> Tensor: ...


@dataclass(frozen=True)
class Fitted:
    """What one pass over the training rows found; models keep it as buffers, so that scoring repeats it exactly."""

    mean: Array
    """[feature] in the features' own units."""
    std: Array
    """[feature]; 1 where a feature never varies."""
    target_mean: float
    """Mean of the known targets."""
    target_std: float
    """Their standard deviation; 1 where they never vary."""
    profile: Array | None = None
    """[entity + 1, 2, slots] mean target by entity code (0 = all), weekday or weekend, and time of day."""
    held_out: Array | None = None
    """[FOLDS, entity + 1, 2, slots] the same without one fold of the days each.

    A mean over few days holds the very value that training asks for; a model trained on it would trust it too much.
    """
    edges: Array | None = None
    """[feature, bins + 1] quantiles of each feature that part its known values into bins that hold alike."""
    entity_mean: Array | None = None
    """[entity + 1, feature] mean by entity code (0 = all)."""
    entity_std: Array | None = None
    """[entity + 1, feature] standard deviation; 1 where a feature never varies."""
    classes: Array | None = None
    """[classes] how many known targets are of each class."""


def rows_ahead(horizon: int) -> NDArray[np.int64]:
    """[steps] rows after the origin that a horizon of so many steps means; 0, the origin's own, for none."""
    return np.arange(1, horizon + 1) if horizon else np.zeros(1, np.int64)


def local_day(ts: Any, minute: Any) -> Any:
    """Number of the local day of `ts` (µs UTC, int64), given the local minute of the day; arrays or tensors."""
    # midnight in UTC minutes is 1440 * day - offset, and an offset is less than half a day either way, or nearly
    midnight = ts // 60_000_000 - (minute.long() if hasattr(minute, "long") else minute.astype(np.int64))
    return (midnight + MINUTES_PER_DAY // 2) // MINUTES_PER_DAY
