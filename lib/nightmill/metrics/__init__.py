"""Pure functions `metric(truth, value) -> float` with the field's own definitions."""

from collections.abc import Callable
from typing import Any

from nightmill.metrics.beyond import beyond
from nightmill.metrics.coverage import coverage
from nightmill.metrics.mae import mae
from nightmill.metrics.mape import mape
from nightmill.metrics.nasa_score import nasa_score
from nightmill.metrics.psi import psi, psi_by_chance
from nightmill.metrics.rmse import rmse

METRICS: dict[str, Callable[[Any, Any], float]] = {"mae": mae, "rmse": rmse, "mape": mape, "nasa_score": nasa_score}
"""Name in `evaluate.metrics` -> function. All are errors: lower is better."""

__all__ = ["METRICS", "beyond", "coverage", "mae", "mape", "nasa_score", "psi", "psi_by_chance", "rmse"]
