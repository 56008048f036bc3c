"""Several models as one: the mean of what they predict."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from nightmill.config.models import Ensemble as Options
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape


class Ensemble(Network):
    """The mean of the members' parameters, each of which sees as much of the window as it wants.

    Breiman 1996, "Stacked Regressions", with equal weights: models that err in other ways, as trees and networks do,
    err less together. `nightmill.train.together` trains the members one after the other.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        from nightmill.models import build

        super().__init__(shape, fitted)
        self.options = options
        self.head = self.headed(1)
        self.head.linear = nn.Identity()  # type: ignore[assignment]
        self.members = nn.ModuleList()
        for member in options.members:
            self.members.append(build(member.model, replace(shape, lookback=member.model.window), fitted))

    @property
    def each(self) -> list[Network]:
        """The members."""
        return [member for member in self.members if isinstance(member, Network)]

    @property
    def tells_apart(self) -> bool:
        return any(member.tells_apart for member in self.each)

    def make_room(self, weights: dict[str, Tensor]) -> None:
        for number, member in enumerate(self.each):
            start = f"members.{number}."
            member.make_room({n.removeprefix(start): w for n, w in weights.items() if n.startswith(start)})

    def forward(self, x: Tensor, entity: Tensor, ts: Tensor | None = None, begun: bool = False) -> Tensor:
        found = [member(x[:, -member.shape.lookback :], entity, ts) for member in self.each]
        return torch.stack(found).mean(dim=0)
