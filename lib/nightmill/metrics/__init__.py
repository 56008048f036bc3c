"""Pure functions `metric(truth, value) -> float` with the field's own definitions."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nightmill.metrics.accuracy import accuracy
from nightmill.metrics.beyond import beyond
from nightmill.metrics.coverage import coverage
from nightmill.metrics.f1 import best_threshold, f1
from nightmill.metrics.false_alarm_rate import false_alarm_rate, missed_alarm_rate
from nightmill.metrics.mae import mae
from nightmill.metrics.mape import mape
from nightmill.metrics.nasa_score import nasa_score
from nightmill.metrics.pinball import pinball
from nightmill.metrics.pr_auc import pr_auc
from nightmill.metrics.psi import psi, psi_by_chance
from nightmill.metrics.recall import recall
from nightmill.metrics.rmse import rmse


class Metric(NamedTuple):
    """How one figure is measured."""

    of: Callable[..., float]
    """From truth, value and what it takes beside them."""
    higher: bool = False
    """Whether higher is better; else it is an error."""
    takes: str | None = None
    """threshold: the least value that is an alarm; budget: the share of values that may be; levels: of the quantiles
    [..., levels] that it takes in place of values."""

    def __call__(
        self, truth: Any, value: Any, *, threshold: float = 0.5, budget: float = 0.05, levels: Sequence[float] = (0.5,)
    ) -> float:
        """The figure over all known truths, given what it takes."""
        beside = {"threshold": threshold, "budget": budget, "levels": levels}
        return self.of(truth, value, *([beside[self.takes]] if self.takes else []))

    def better(self, one: float, other: float) -> bool:
        """Whether one figure is better than another; NaN never is."""
        return one > other if self.higher else one < other


METRICS: dict[str, Metric] = {
    "mae": Metric(mae),
    "rmse": Metric(rmse),
    "mape": Metric(mape),
    "nasa_score": Metric(nasa_score),
    "accuracy": Metric(accuracy, higher=True),
    "pr_auc": Metric(pr_auc, higher=True),
    "f1": Metric(f1, higher=True, takes="threshold"),
    "false_alarm_rate": Metric(false_alarm_rate, takes="threshold"),
    "missed_alarm_rate": Metric(missed_alarm_rate, takes="threshold"),
    "recall": Metric(recall, higher=True, takes="budget"),
    "pinball": Metric(pinball, takes="levels"),
}
"""By name in `evaluate.metrics`."""

__all__ = [
    "METRICS",
    "Metric",
    "accuracy",
    "best_threshold",
    "beyond",
    "coverage",
    "f1",
    "false_alarm_rate",
    "mae",
    "mape",
    "missed_alarm_rate",
    "nasa_score",
    "pinball",
    "pr_auc",
    "psi",
    "psi_by_chance",
    "recall",
    "rmse",
]
