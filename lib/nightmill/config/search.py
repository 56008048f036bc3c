"""Which options a search tries, and how long."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt, model_validator

from nightmill.config.values import Duration, Options

TRAINED = (
    "epochs",
    "patience",
    "batch",
    "optimiser",
    "learning_rate",
    "weight_decay",
    "schedule",
    "clip",
    "ema",
)
"""Options of `train` that may be searched: those that change what is learnt, and not what its loss means."""


class Range(Options):
    """Numbers between two ends, both included; whole numbers where both ends are."""

    low: int | float
    """The least."""
    high: int | float
    """The greatest."""
    log: bool = False
    """Whether their logarithms are drawn alike: for learning rates and other sizes over several powers of ten."""
    step: int | float | None = Field(default=None, gt=0)
    """Only low, low + step, low + 2 step, …; not with log."""

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a low above 0, and no step")
        if self.step is not None and not self.holds(self.high):
            raise ValueError(f"high ({self.high}) must be low ({self.low}) and a number of steps of {self.step}")
        return self

    def holds(self, value: int | float | None) -> bool:
        """Whether a value is one of them."""
        if value is None or not self.low <= value <= self.high:
            return False
        step = self.step or (1 if self.whole else None)
        steps = (value - self.low) / step if step else 0.0
        return abs(steps - round(steps)) <= 1e-9 * max(1, steps)

    @property
    def whole(self) -> bool:
        """Whether it is one of whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))


class Search(Options):
    """Which options `nightmill search` tries. What it finds is written into model: and train: by hand."""

    space: dict[str, list[Any] | Range] = Field(min_length=1)
    """Option, as in model.hidden or train.learning_rate -> values to choose from, or low and high."""
    trials: PositiveInt = 20
    """Trainings at most; the first is of the options as they stand."""
    within: Duration | None = None
    """No further trial begins once they have taken this long; without it only the number ends the search."""
    prune: bool = True
    """Stop a trial whose validation loss is above the median that the finished ones had after as many epochs."""

    @model_validator(mode="after")
    def _some(self) -> Search:
        for name, values in self.space.items():
            if isinstance(values, list) and (len(values) < 2 or any(isinstance(v, dict | list) for v in values)):
                raise ValueError(f"space: {name} needs two or more plain values, or low and high")
        return self

    def ends(self, name: str) -> list[Any]:
        """Values of an option that are to be checked: all of a list, some of a range; none of one that is not searched.

        Of a range both ends, and where it is not one of whole numbers a value between them.
        """
        values = self.space.get(name, [])
        if not isinstance(values, Range):
            return values
        between = values.low + (values.step or 0.382 * (values.high - values.low))
        return [values.low, values.high] + ([] if values.whole else [between])
