"""Naive rules: what a model must beat to be promoted, and what stands in for it where it cannot predict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from nightmill.clock import DAY, MINUTE, Clock
from nightmill.config.usecase import UseCase
from nightmill.models.interval import Interval
from nightmill.models.shape import MINUTES_PER_DAY, Windows, rows_ahead

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """What a rule has to know of its use case."""

    entities: int
    """Size of the vocabulary, without code 0 of the unknown."""
    horizon: int
    """Steps ahead; 0 for a value of the origin's own row."""
    every: int
    """Step between rows, µs."""
    zone: str
    """Time zone of local days, as in Europe/Berlin."""
    cap: float | None = None
    """The greatest remaining life."""

    @classmethod
    def of(cls, use_case: UseCase, entities: int, every: int, zone: str) -> Setting:
        """That of a use case."""
        life = use_case.target.remaining_life
        cap = float(life.cap) if life and life.cap else None
        return cls(entities, use_case.target.horizon or 0, every, zone, cap)


class Origins(Windows, Protocol):
    """The part of a hand-off batch that a rule looks at."""

    @property
    def ts(self) -> Tensor: ...
    @property
    def weight(self) -> Tensor: ...


class Naive(ABC):
    """A rule over training rows: `add` them in any number of pieces, then `finish`; or begin with a `state`.

    The mean of each entity stands in where the rule itself says nothing.
    """

    column: ClassVar[str] = "target"
    """Column of gold that the rule looks at."""
    looks_back: ClassVar[bool] = True
    """Whether the window counts, or only the origin's own row."""
    arrays: ClassVar[tuple[str, ...]] = ("mean",)
    """What `state` holds."""

    def __init__(self, setting: Setting, state: dict[str, Floats] | None = None) -> None:
        self.setting = setting
        self.state = {} if state is None else state
        self._total, self._count = np.zeros(setting.entities + 1), np.zeros(setting.entities + 1)

    def add(self, code: Ints, ts: Ints, own: NDArray[Any], target: NDArray[Any]) -> None:
        """Training rows, [n] each: entity codes, even times (µs, see `Clock`), the rule's column and the target.

        NaN is unknown.
        """
        known = ~np.isnan(target)
        self._total += np.bincount(code[known], target[known], len(self._total))
        self._count += np.bincount(code[known], minlength=len(self._count))

    def fit(self, rows: Iterable[tuple[NDArray[Any], Ints, Ints]], codes: Ints) -> Naive:
        """`add` of pieces (column and target [n, 2], entity, ts), where `codes` are those of the entities; itself."""
        for values, entity, ts in rows:
            self.add(codes[entity], ts, values[:, 0], values[:, 1])
        self.finish()
        return self

    def finish(self) -> None:
        """Called once after the last rows."""
        everything = self._total.sum() / max(self._count.sum(), 1)
        mean = np.where(self._count > 0, self._total / np.maximum(self._count, 1), everything)
        mean[0] = everything
        self.state["mean"] = mean.astype(np.float32)

    @staticmethod
    def summary(windows: NDArray[Any]) -> Floats:
        """[n] what it knows of windows [n, lookback] of its column: their newest known value unless it says more."""
        return newest(windows)

    def predict(self, code: Ints, ts: Ints, own: Floats) -> Floats:
        """[n, steps] of origins: entity codes (0: unknown), even times, and the `summary` of the windows before them.

        Never NaN.
        """
        value = self.rule(code, ts, own)
        return np.where(np.isnan(value), self.state["mean"][code][:, None], value)

    def predict_batch(self, batch: Origins, codes: Ints) -> tuple[Floats, NDArray[np.bool_]]:
        """(what `predict` says of a batch's origins [n, steps], which of the batch they are and no padding).

        The batch has windows of `column` alone; `codes` are those of the index' entities.
        """
        real = batch.weight.numpy() > 0
        own = self.summary(batch.x[:, :, 0].numpy()[real])
        return self.predict(codes[batch.entity.numpy()[real]], batch.ts.numpy()[real], own), real

    @abstractmethod
    def rule(self, code: Ints, ts: Ints, own: Floats) -> Floats:
        """As `predict`, NaN where the rule says nothing."""

    @property
    def ahead(self) -> Ints:
        """[steps] rows after the origin."""
        return rows_ahead(self.setting.horizon)


class LastValue(Naive):
    """The target's last known value, for every step ahead (persistence)."""

    def rule(self, code: Ints, ts: Ints, own: Floats) -> Floats:
        return np.repeat(own[:, None], len(self.ahead), axis=1)


class WindowMean(LastValue):
    """The mean of the target's known values in the window (moving average)."""

    @staticmethod
    def summary(windows: NDArray[Any]) -> Floats:
        known = ~np.isnan(windows)
        count = known.sum(axis=1)
        total = np.where(known, windows, 0).sum(axis=1)
        return np.divide(total, count, out=np.full(len(windows), np.nan, np.float32), where=count > 0)


class Tsb(LastValue):
    """Intermittent demand: how often there is any, times how much then, both smoothed at the rate of SMOOTHING.

    Teunter, Syntetos & Babai 2011, "Intermittent demand: Linking forecasting to inventory obsolescence".
    """

    SMOOTHING: ClassVar[float] = 0.1

    @staticmethod
    def summary(windows: NDArray[Any]) -> Floats:
        known, rate = ~np.isnan(windows), Tsb.SMOOTHING
        asked = known & (windows > 0)
        often = asked.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        size = np.where(asked, windows, 0).sum(axis=1) / np.maximum(asked.sum(axis=1), 1)
        for here, some, value in zip(known.T, asked.T, windows.T):
            often = np.where(here, often + rate * (some - often), often)
            size = np.where(some, size + rate * (np.nan_to_num(value) - size), size)
        found = np.where(known.any(axis=1), often * size, np.nan)
        return found.astype(np.float32)


class Mean(Naive):
    """The entity's mean in the training rows; that of all for one that training did not know."""

    looks_back = False

    def rule(self, code: Ints, ts: Ints, own: Floats) -> Floats:
        return np.full((len(code), len(self.ahead)), np.nan, np.float32)


class MostFrequent(Naive):
    """The class of most training rows, of all entities together."""

    looks_back = False

    def __init__(self, setting: Setting, state: dict[str, Floats] | None = None) -> None:
        super().__init__(setting, state)
        self._counts = np.zeros(1, np.int64)

    def add(self, code: Ints, ts: Ints, own: NDArray[Any], target: NDArray[Any]) -> None:
        found = np.bincount(target[~np.isnan(target)].astype(np.int64), minlength=len(self._counts))
        found[: len(self._counts)] += self._counts
        self._counts = found

    def finish(self) -> None:
        self.state["mean"] = np.full(self.setting.entities + 1, self._counts.argmax(), np.float32)

    def rule(self, code: Ints, ts: Ints, own: Floats) -> Floats:
        return np.full((len(code), len(self.ahead)), np.nan, np.float32)


class Always(Naive):
    """An alarm at every row: what a detector must beat."""

    looks_back = False

    def rule(self, code: Ints, ts: Ints, own: Floats) -> Floats:
        return np.ones((len(code), len(self.ahead)), np.float32)


class TimeOfDayMean(Naive):
    """The entity's mean at the local time of day, weekdays and weekends apart (historical average).

    An entity that training did not know has the mean of all.
    """

    looks_back = False
    arrays = ("mean", "profile")

    def __init__(self, setting: Setting, state: dict[str, Floats] | None = None) -> None:
        super().__init__(setting, state)
        self.slots, self.clock = max(1, DAY // setting.every), Clock(setting.every, setting.zone)
        self._sums: Any = None

    def add(self, code: Ints, ts: Ints, own: NDArray[Any], target: NDArray[Any]) -> None:
        super().add(code, ts, own, target)
        if self._sums is None:
            self._sums = np.zeros((2, (self.setting.entities + 1) * 2 * self.slots))
        known = ~np.isnan(target)
        cell = self._cell(code[known], ts[known])
        np.add.at(self._sums[0], cell, target[known])
        np.add.at(self._sums[1], cell, 1.0)

    def finish(self) -> None:
        super().finish()
        total, count = self._sums.reshape(2, self.setting.entities + 1, 2, self.slots)
        self._sums = None
        total[0], count[0] = total.sum(axis=0), count.sum(axis=0)
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        self.state["profile"] = mean.astype(np.float32)

    def rule(self, code: Ints, ts: Ints, own: Floats) -> Floats:
        times = ts[:, None] + self.ahead * self.setting.every
        return (
            self.state["profile"]
            .ravel()[self._cell(np.repeat(code, len(self.ahead)), times.ravel())]
            .reshape(times.shape)
        )

    def _cell(self, code: Ints, ts: Ints) -> Ints:
        """Place in [entity + 1, 2, slots], flat."""
        local = self.clock.local(ts)
        weekend = (local // DAY + 3) % 7 >= 5  # 1970 began on a Thursday
        slot = local % DAY // MINUTE * self.slots // MINUTES_PER_DAY
        return (code * 2 + weekend) * self.slots + slot


class MeanLife(Naive):
    """The mean life in the training rows less the age, at least 0 and at most the cap."""

    column = "age"
    arrays = ("mean", "life")

    def __init__(self, setting: Setting, state: dict[str, Floats] | None = None) -> None:
        super().__init__(setting, state)
        self._lives, self._lived = 0.0, 0

    def add(self, code: Ints, ts: Ints, own: NDArray[Any], target: NDArray[Any]) -> None:
        super().add(code, ts, own, target)
        # a capped target says only that the end is farther away
        known = ~np.isnan(own) & ~np.isnan(target) & (target < (self.setting.cap or np.inf))
        self._lives, self._lived = self._lives + float((own + target)[known].sum()), self._lived + int(known.sum())

    def finish(self) -> None:
        super().finish()
        self.state["life"] = np.array([self._lives / max(self._lived, 1)], np.float32)

    def rule(self, code: Ints, ts: Ints, own: Floats) -> Floats:
        return np.clip(self.state["life"] - own, 0, self.setting.cap)[:, None]


RULES: dict[str, type[Naive]] = {
    "last_value": LastValue,
    "window_mean": WindowMean,
    "tsb": Tsb,
    "time_of_day_mean": TimeOfDayMean,
    "mean_life": MeanLife,
    "mean": Mean,
    "most_frequent": MostFrequent,
    "always": Always,
}
"""Name in `evaluate.baselines` and `score.fallback` -> rule."""


@dataclass(frozen=True)
class Fallback:
    """A fitted rule with intervals of its own."""

    name: str
    """Of RULES."""
    rule: Naive
    interval: Interval

    def predict(self, code: Ints, ts: Ints, own: Floats, late: Ints) -> tuple[Floats, Floats, Floats]:
        """(value, lo, hi), each [n, steps]; `late` [n] is how many rows ago the newest known value was.

        Of a value that is late the interval is that of as many steps further ahead, as far as there is one, and so it
        is of the mean that stands in where a rule that looks back finds no value.
        """
        value = self.rule.predict(code, ts, own)
        lo, hi = np.empty_like(value), np.empty_like(value)
        last = len(self.interval.steps) - 1
        late = np.where(np.isnan(own) & self.rule.looks_back, last, np.minimum(late, last))
        for by in np.unique(late).tolist():
            some = late == by
            middle = value[some]
            lo[some], hi[some] = self.interval.later(by).round(middle, middle)
        return value, lo, hi

    def to_json(self) -> dict[str, Any]:
        """Plain values; the arrays are `state`."""
        return {"rule": self.name, "setting": asdict(self.rule.setting), "interval": self.interval.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any], state: dict[str, Floats] | None) -> Fallback:
        """The inverse of `to_json`; without a state it says what it would need, and cannot predict.

        Raises KeyError and TypeError where something is missing.
        """
        kind = RULES[data["rule"]]
        if state is not None and (lost := [name for name in kind.arrays if name not in state]):
            raise KeyError(f"the fallback's {lost[0]}")
        rule = kind(Setting(**data["setting"]), state)
        return cls(data["rule"], rule, Interval.from_json(data["interval"]))


def newest(windows: NDArray[Any]) -> Floats:
    """[n] the last known value of windows [n, lookback]; NaN where there is none."""
    place = np.where(np.isnan(windows), -1, np.arange(windows.shape[1])).max(axis=1)
    found: Floats = np.take_along_axis(windows, np.maximum(place, 0)[:, None], axis=1)[:, 0]
    return found
