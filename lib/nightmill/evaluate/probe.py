"""A model's inputs on the test part, to be changed: what its first figure is then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nightmill.config.features import Formula
from nightmill.config.relation import read_formula
from nightmill.evaluate.predict import BATCH, Floats, Material
from nightmill.metrics import METRICS
from nightmill.models.bundle import Bundle

SAMPLES, MEMORY = 10_000, 64 << 20
"""Test samples, and bytes of their windows, at most; above that evenly spaced ones stand for all."""
ARRAYS = 200
"""Test samples of arrays at most: images take a hundred times as long as rows."""


@dataclass(frozen=True)
class Probe:
    """Test samples as a model sees them."""

    bundle: Bundle
    material: Material
    x: Tensor
    """[n, lookback, feature], or [n, …] the arrays themselves."""
    entity: Tensor
    truth: Floats

    @classmethod
    def of(cls, bundle: Bundle, material: Material) -> Probe:
        """The test part, or evenly spaced samples of it where it is large."""
        names, shape = list(bundle.shape.features), bundle.shape
        most = min(ARRAYS if shape.array else SAMPLES, MEMORY // (shape.lookback * shape.row_bytes))
        samples = material.parts.test.thinned(max(1, most))
        seen = [
            (b.x[real], b.y[real], b.entity[real]) for b in material.batches(samples, names) for real in [b.weight > 0]
        ]
        x, y, entity = (torch.cat(parts) for parts in zip(*seen, strict=True))
        return cls(bundle, material, bundle.network.array(x) if shape.array else x, entity, y.numpy())

    def figure(self, x: Tensor) -> float:
        """The first metric with other inputs."""
        codes, case = self.bundle.codes(self.material.index.entities), self.material.use_case
        metric, levels = METRICS[case.evaluate.metrics[0]], case.evaluate.levels
        parts = map(_Seen, x.split(BATCH), self.entity.split(BATCH))
        if metric.takes == "levels":
            said = np.concatenate([self.bundle.quantiles(part, codes, levels) for part in parts])
        else:
            said = np.concatenate([self.bundle.predict(part, codes).value for part in parts])
        threshold = 0.5 if self.bundle.threshold is None else self.bundle.threshold
        return metric(self.truth, said, threshold=threshold, budget=case.evaluate.budget, levels=levels)

    @property
    def levers(self) -> dict[str, list[str]]:
        """Lever -> features that move with it, without those that are worked out from others."""
        found: dict[str, list[str]] = {}
        derived = {formula.name for formula in self._formulas}
        for feature in self.material.use_case.features:
            for name, lever in feature.levers.items():
                if name not in derived and name not in found.setdefault(lever, []):
                    found[lever].append(name)
        return {lever: names for lever, names in found.items() if names}

    def with_columns(self, columns: Sequence[str], values: Tensor) -> Tensor:
        """The inputs with other values [n, lookback, columns] of some columns, and formulas over them anew."""
        moved = self.x.clone()
        moved[:, :, self.places(columns)] = values
        for formula in self._formulas:
            moved[:, :, self.places([formula.name])[0]] = torch.from_numpy(self._worked_out(formula, moved))
        return moved

    def places(self, columns: Sequence[str]) -> list[int]:
        """Where columns stand in the inputs."""
        return [self.bundle.shape.features.index(name) for name in columns]

    @property
    def _formulas(self) -> list[Formula]:
        """Those that can be worked out from the inputs."""
        known = set(self.bundle.shape.features)
        return [f for f in self.material.use_case.features if isinstance(f, Formula) and set(f.reads) <= known]

    def _worked_out(self, formula: Formula, x: Tensor) -> NDArray[np.float32]:
        """[n, lookback] a formula over the columns of x."""
        columns: Mapping[str, Any] = {name: x[:, :, self.places([name])[0]].double().numpy() for name in formula.reads}
        with np.errstate(divide="ignore", invalid="ignore"):
            value = read_formula(formula.of).build(columns, float, _FUNCTIONS)
        return np.broadcast_to(np.where(np.isfinite(value), value, np.nan), x.shape[:2]).astype(np.float32)


class _Seen(NamedTuple):
    """What a model looks at."""

    x: Tensor
    entity: Tensor


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "round": lambda value, digits: np.round(value, int(digits)),
    "least": np.fmin,
    "greatest": np.fmax,
    "divide": np.divide,
}
