"""What becomes an alarm in the morning."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator

from nightmill.config.values import Duration, Fraction, Options


class Watched(Options):
    """When the drops of a data set are an alarm."""

    late: Duration = timedelta(days=1)
    """Age of the last day that has come, counted from the night's."""
    complete: Fraction = 0.8
    """Least share of the records that the days before brought (their median)."""
    refused: Fraction = 0.05
    """Largest share of a day's records that may be refused."""


class Monitor(Options):
    """When the predictions of a use case are an alarm."""

    by: list[str] = []
    """Columns of static inputs, as in detectors.district: each of their values is looked at by itself, too."""
    error: float = Field(default=1.5, gt=1, allow_inf_nan=False)
    """Live error as a multiple of what it was in the nights before, or of the test part's while there are none."""
    coverage: Fraction = 0.1
    """How far the share of true values between lo and hi may fall below `score.interval`."""
    drift: float = Field(default=0.25, gt=0, allow_inf_nan=False)
    """Population stability index of predictions against what is usual, and of inputs against the week before."""
    fallback: Fraction = 0.2
    """Largest share of a night's predictions that may be by the fallback instead of the model."""
    below: float | None = Field(default=None, allow_inf_nan=False)
    """Entities whose prediction is below this are an alarm, as of machines that will soon fail."""
    above: float | None = Field(default=None, allow_inf_nan=False)
    """Entities whose prediction is above this are an alarm."""

    @field_validator("by")
    @classmethod
    def _of_an_input(cls, value: list[str]) -> list[str]:
        for item in value:
            if item.count(".") != 1:
                raise ValueError(f"'{item}' is no column of an input: write as detectors.district")
        return value
