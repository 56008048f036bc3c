"""What detectors of the unusual have in common: they learn what is normal, and say how far from it a window is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nightmill.models.heads import SMALL
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape

Floats = NDArray[np.float32]
USUAL = 0.99
"""Share of an entity's training windows whose figures are within its limits."""
CALM = 0.8
"""An alarm ends below this share of the level that raised it."""
FEW = 20
"""Training windows below which an entity has the limits of all."""


@dataclass(frozen=True)
class Seen:
    """What windows without faults amount to."""

    value: Floats
    """[n, …] of each window."""
    entity: NDArray[np.int64]
    """[n] entity codes."""


class Detector(Network):
    """`forward` gives [b, 1, 2]: the health index, above 1 where something is unlike training, and the residuals' mean
    square, which training makes small.

    Each entity is standardised by its own training rows. A family says what is left of z-scores that it could not
    expect (`residuals`); that is averaged over `smooth` rows, since noise averages out and faults stay. What it
    amounts to (`statistics`) is held to the greatest that the entity's training windows know, but for a hundredth
    of them; and the index is 1 where `alarms` of the validation windows are above it. States that wander in
    training by more than `drift` times what chance would have them do say nothing of faults, and count as their
    mean. An alarm stays until the index falls below `CALM`: the window's earlier rows are looked at for its
    beginning, so nothing is kept between nights.
    """

    centre: Tensor
    scale: Tensor
    limit: Tensor
    level: Tensor
    wander: Tensor
    kept: Tensor
    by_entity = ("centre", "scale", "limit")

    def __init__(self, options: Any, shape: Shape, fitted: Fitted | None) -> None:
        super().__init__(shape, fitted)
        self.options = options
        self.states = [i for i, name in enumerate(shape.features) if name not in options.inputs]
        self.drives = [shape.features.index(name) for name in options.inputs]
        size = shape.entities + 1, len(shape.features)
        known = fitted is not None and fitted.entity_mean is not None
        self.register_buffer("centre", torch.as_tensor(fitted.entity_mean) if known else torch.zeros(size))  # type: ignore[union-attr]
        self.register_buffer("scale", torch.as_tensor(fitted.entity_std) if known else torch.ones(size))  # type: ignore[union-attr]
        self.register_buffer("limit", torch.ones(shape.entities + 1, self.figures))
        self.register_buffer("level", torch.ones(()))
        self.register_buffer("wander", torch.zeros(size[1]))
        self.register_buffer("kept", torch.ones(size[1]))
        self.head = self.headed(0)

    @property
    def figures(self) -> int:
        """How many figures `statistics` gives."""
        return len(self.states)

    def residuals(self, z: Tensor) -> Tensor:
        """[b, rows, state] of z-scores [b, lookback, feature]: what of the latest rows was not expected."""
        raise NotImplementedError

    def statistics(self, residual: Tensor) -> Tensor:
        """[…, figure] from 0 of mean residuals […, state]; each is held to a limit of its own."""
        return residual.abs()

    def fit_statistics(self, residual: Tensor) -> None:
        """Called with mean residuals [n, state] of training windows, for what `statistics` has to know of them."""

    def forward(self, x: Tensor, entity: Tensor, ts: Tensor | None = None, begun: bool = False) -> Tensor:
        residual = self.unexpected(x, entity)
        loss = residual.square().mean(dim=(1, 2))
        index = loss.detach() if self.training else self.latched(self.index(residual, entity))
        return torch.stack([index, loss], dim=1).float().unsqueeze(1)

    def unexpected(self, x: Tensor, entity: Tensor) -> Tensor:
        """[b, rows, state] residuals of windows x [b, lookback, feature]; 0 where a value is missing."""
        residual = self.residuals(self.standardised(x, entity))
        missing = x[:, -residual.shape[1] :, self.states].isnan()
        return residual.masked_fill(missing, 0.0)

    def standardised(self, x: Tensor, entity: Tensor) -> Tensor:
        """z-scores of each entity's own rows; a missing value is its mean, and so is a state that wanders."""
        z = (x - self.centre[entity].unsqueeze(1)) / self.scale[entity].unsqueeze(1)
        return torch.nan_to_num(z, 0.0, torch.inf, -torch.inf) * self.kept

    def index(self, residual: Tensor, entity: Tensor) -> Tensor:
        """[b, places] the index at each row that has `smooth` residuals [b, rows, state] up to it."""
        return self._held(self.smoothed(residual), entity.unsqueeze(1)) / self.level

    def smoothed(self, residual: Tensor) -> Tensor:
        """[b, places, state] mean over `smooth` rows."""
        return functional.avg_pool1d(residual.transpose(1, 2), self.options.smooth, stride=1).transpose(1, 2)

    @staticmethod
    def latched(index: Tensor) -> Tensor:
        """[b] the last index [b, places], which once above 1 stays there until it is below `CALM`."""
        held = index[:, 0]
        for now in index[:, 1:].unbind(dim=1):
            held = torch.maximum(now, torch.minimum(held, now / CALM))
        return held

    def _held(self, residual: Tensor, entity: Tensor) -> Tensor:
        """[…] the greatest figure in units of its limit."""
        found = self.statistics(residual) / self.limit[entity].clamp(min=SMALL)
        return found.amax(dim=-1)

    @torch.no_grad()
    def leave_out(self, level: Seen) -> None:
        """Before training: the states that wander, from the windows' mean z-scores [n, feature]."""
        if self.options.drift is None:
            return
        rows = [row for row in _by_entity(level).values() if len(row) > 1] or [np.arange(len(level.entity))]
        # the mean of n independent values wanders by 1 / sqrt(n) of their own deviation
        apart = [level.value[row].std(axis=0) * np.sqrt(self.shape.lookback) for row in rows]
        wander = torch.as_tensor(np.median(apart, axis=0), dtype=torch.float32)
        wander[self.drives] = 0.0
        steady = wander <= self.options.drift
        self.wander.copy_(wander)
        if steady[self.states].any():
            self.kept.copy_(steady)

    @torch.no_grad()
    def learn(self, training: Seen, validation: Seen) -> None:
        """After training: limits and level, from the windows' latest mean residuals [n, state]."""
        device = self.level.device
        residual = torch.as_tensor(training.value, device=device)
        self.fit_statistics(residual)
        figures = self.statistics(residual).cpu().numpy()
        self.limit.copy_(torch.as_tensor(np.quantile(figures, USUAL, axis=0)))
        for code, row in _by_entity(training).items():
            if code and len(row) >= FEW:
                self.limit[code] = torch.as_tensor(np.quantile(figures[row], USUAL, axis=0), dtype=torch.float32)
        judged = validation if len(validation.entity) else training
        held = self._held(torch.as_tensor(judged.value, device=device), torch.as_tensor(judged.entity, device=device))
        self.level.fill_(max(float(np.quantile(held.cpu().numpy(), 1 - self.options.alarms)), SMALL))


def _by_entity(seen: Seen) -> dict[int, NDArray[np.int64]]:
    """Entity code -> positions of its windows."""
    order = np.argsort(seen.entity, kind="stable")
    codes, first = np.unique(seen.entity[order], return_index=True)
    return dict(zip(codes.tolist(), np.split(order, first[1:]), strict=True))
