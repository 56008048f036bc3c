"""What a network's constant beginning makes of a sample, worked out once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nightmill.models.network import Network


class Begun:
    """Remembers by entity and time; `of` is the network, whose weights before the first trained one do not change."""

    def __init__(self, of: Network, memory: int | None) -> None:
        self.network, self.memory = of, memory
        self._places: dict[tuple[int, int], int] = {}
        self._held: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, batch: Any) -> Tensor:
        """network.begin(batch.x), from memory where all of it was seen before; float32 on the batch's device.

        What stands for padding may be that of another sample.
        """
        keys, counts = list(zip(batch.entity.tolist(), batch.ts.tolist())), (batch.weight > 0).tolist()
        if self._held and all(key in self._places for key, counting in zip(keys, counts) if counting):
            return torch.stack([self._held[self._places.get(key, 0)] for key in keys]).to(batch.x.device)
        found = torch.cat([self.network.begin(x) for x in batch.x.split(self.network.at_once(len(keys)))]).float()
        room = None if self.memory is None else self.memory // max(found[0].numel() * found.element_size(), 1)
        for key, counting, one in zip(keys, counts, found.cpu()):
            if counting and key not in self._places and (room is None or len(self._held) < room):
                self._places[key] = len(self._held)
                self._held.append(one.clone())
        return found
