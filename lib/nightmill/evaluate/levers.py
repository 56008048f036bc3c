"""Which lever moves what is predicted: how much worse a model is where one input is dealt out anew among the samples.

Permutation importance: Breiman 2001, "Random Forests"; Fisher, Rudin & Dominici 2019, "All Models are Wrong, but Many
are Useful". It says what the model relies on, not what would happen if somebody moved the lever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nightmill.config import UseCase
from nightmill.config.features import Formula
from nightmill.config.relation import read_formula
from nightmill.evaluate.predict import BATCH, Floats, Material
from nightmill.metrics import METRICS
from nightmill.models.bundle import Bundle

SAMPLES, MEMORY = 10_000, 64 << 20
"""Test samples, and bytes of their windows, at most; above that evenly spaced ones stand for all."""


def levers(bundle: Bundle, material: Material) -> dict[str, float]:
    """Lever -> by how much the first metric is worse on the test part with its values dealt out anew, in its own unit.

    A lever is a column, with all features of it moved together; formulas over it are worked out anew. Levers that make
    no difference have about 0.
    """
    names = list(bundle.shape.features)
    size = 4 * bundle.shape.lookback * len(names)
    samples = material.parts.test.thinned(max(1, min(SAMPLES, MEMORY // size)))
    seen = [(b.x[real], b.y[real], b.entity[real]) for b in material.batches(samples, names) for real in [b.weight > 0]]
    x, y, entity = (torch.cat(parts) for parts in zip(*seen, strict=True))
    truth, codes = y.numpy(), bundle.codes(material.index.entities)

    def judged(values: Tensor) -> float:
        parts = map(_Seen, values.split(BATCH), entity.split(BATCH))
        said = np.concatenate([bundle.predict(part, codes).value for part in parts])
        return _figure(material.use_case, bundle, truth, said)

    usual, metric = judged(x), METRICS[material.use_case.evaluate.metrics[0]]
    formulas = [f for f in material.use_case.features if isinstance(f, Formula) and set(f.reads) <= set(names)]
    dealt = torch.from_numpy(np.random.default_rng(bundle.seed).permutation(len(x)))
    found = {}
    for lever, columns in _columns(material.use_case, {formula.name for formula in formulas}).items():
        places = [names.index(name) for name in columns]
        moved = x.clone()
        moved[:, :, places] = x[dealt][:, :, places]
        for formula in formulas:
            moved[:, :, names.index(formula.name)] = torch.from_numpy(_formula(formula, names, moved))
        now = judged(moved)
        found[lever] = usual - now if metric.higher else now - usual
    return found


class _Seen(NamedTuple):
    """What a model looks at."""

    x: Tensor
    entity: Tensor


def _figure(use_case: UseCase, bundle: Bundle, truth: Floats, value: Floats) -> float:
    threshold = 0.5 if bundle.threshold is None else bundle.threshold
    metric = METRICS[use_case.evaluate.metrics[0]]
    return metric(truth, value, threshold=threshold, budget=use_case.evaluate.budget)


def _columns(use_case: UseCase, derived: set[str]) -> dict[str, list[str]]:
    """Lever -> features that move with it, without those that are worked out from others."""
    found: dict[str, list[str]] = {}
    for feature in use_case.features:
        for name, lever in feature.levers.items():
            if name not in derived and name not in found.setdefault(lever, []):
                found[lever].append(name)
    return {lever: names for lever, names in found.items() if names}


def _formula(formula: Formula, names: list[str], x: Tensor) -> NDArray[np.float32]:
    """[b, lookback] its value over the columns of x."""
    columns: Mapping[str, Any] = {name: x[:, :, names.index(name)].double().numpy() for name in formula.reads}
    with np.errstate(divide="ignore", invalid="ignore"):
        value = read_formula(formula.of).build(columns, float, _FUNCTIONS)
    return np.broadcast_to(np.where(np.isfinite(value), value, np.nan), x.shape[:2]).astype(np.float32)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "round": lambda value, digits: np.round(value, int(digits)),
    "least": np.fmin,
    "greatest": np.fmax,
    "divide": np.divide,
}
