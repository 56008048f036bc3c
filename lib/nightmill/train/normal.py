"""What a detector learns beside its weights, of windows without faults: before them and after them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nightmill.models.detector import Detector, Seen
from nightmill.train import ranks

if TYPE_CHECKING:
    from nightmill.train.loop import Feed, Setup

WINDOWS = 400_000
"""Windows of each part at most that stand for all."""

Measure = Callable[[Tensor, Tensor], Tensor]
"""Windows [b, lookback, feature] and entity codes [b] -> values [b, …]."""


def leave_out_wandering(setup: Setup, network: Detector) -> None:
    """Finds what wanders too much to tell of faults, the same on all ranks; raises on all together."""

    def measure(x: Tensor, entity: Tensor) -> Tensor:
        return network.standardised(x, entity).mean(dim=1)

    if network.options.drift is not None:
        network.leave_out(_seen(setup, measure, setup.training))


def learn_normal(setup: Setup, network: Detector) -> None:
    """Gives the trained detector its limits, the same on all ranks; raises on all together."""
    network.eval()

    def measure(x: Tensor, entity: Tensor) -> Tensor:
        return network.unexpected(x, entity)[:, -network.options.smooth :].mean(dim=1)

    network.learn(*(_seen(setup, measure, feed) for feed in (setup.training, setup.validation)))


@torch.no_grad()
def _seen(setup: Setup, measure: Measure, feed: Feed) -> Seen:
    codes = torch.from_numpy(setup.codes).to(setup.device)
    stride, found, error = max(1, feed.samples // WINDOWS), [], None
    try:
        for batch in feed.source.epoch(0):
            real = batch.weight > 0
            entity = codes[batch.entity[real][::stride]]
            found.append((measure(batch.x[real][::stride], entity).cpu().numpy(), entity.cpu().numpy()))
    except Exception as raised:
        error = raised
    ranks.agree(error)
    parts = [part for rank in ranks.gathered(found) for part in rank]
    if not parts:
        return Seen(np.zeros((0, 1), np.float32), np.zeros(0, np.int64))
    return Seen(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
