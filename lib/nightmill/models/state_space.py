"""Detects by a linear state space model: what the next state should be after this one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import StateSpace as Options
from nightmill.models.detector import Detector
from nightmill.models.shape import Fitted, Shape


class StateSpace(Detector):
    """x' = A x + B u + w: states follow from the states a row before and from the inputs of their own row.

    What is left, the disturbance w, is the residual. Ljung 1999, "System Identification: Theory for the User",
    section 4.3. All entities share A and B, of their z-scores.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(options, shape, fitted)
        self.next = nn.Linear(len(self.states) + len(self.drives), len(self.states))
        nn.init.zeros_(self.next.weight)
        nn.init.zeros_(self.next.bias)

    def residuals(self, z: Tensor) -> Tensor:
        states = z[:, :, self.states]
        out: Tensor = states[:, 1:] - self.next(torch.cat([states[:, :-1], z[:, 1:, self.drives]], dim=2))
        return out
