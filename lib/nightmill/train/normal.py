"""What a detector learns beside its weights, of windows without faults: before them and after them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nightmill.errors import DataRefused
from nightmill.models.detector import Detector, Seen
from nightmill.models.patchcore import Patchcore
from nightmill.train import ranks

if TYPE_CHECKING:
    from nightmill.train.loop import Feed, Setup

WINDOWS = 400_000
"""Windows of each part at most that stand for all."""

PATCHES = 20_000
"""Patches at most of which those to remember are chosen."""

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
def remember_good(setup: Setup, network: Patchcore) -> None:
    """Gives the network the patches of good training images, the same on all ranks; raises on all together."""
    network.eval()
    each, random = max(1, PATCHES // setup.training.samples), torch.Generator().manual_seed(setup.seed)

    def some(x: Tensor) -> Tensor:
        found = network.patches(x).flatten(1, 2)
        return found[:, torch.randperm(found.shape[1], generator=random)[:each].to(found.device)].flatten(0, 1)

    def strangest(x: Tensor) -> Tensor:
        return network.strangeness(network.patches(x)).flatten(1).amax(dim=1)

    patches = _of_good(setup, network, some, setup.training)
    if not len(patches):
        what = "no training image is good: the target of each is above 0"
        raise DataRefused(what, where="train", fix="take images without defects into the training part")
    network.remember(patches, setup.seed)
    judged = _of_good(setup, network, strangest, setup.validation)
    if len(judged):
        network.judge_by(judged)


def _of_good(setup: Setup, network: Patchcore, measure: Callable[[Tensor], Tensor], feed: Feed) -> Tensor:
    """What is measured of the good images of all ranks."""
    found, error = [], None
    try:
        for batch in feed.source.epoch(0):
            good = batch.x[_normal(batch)]
            parts = good.split(network.at_once(len(good))) if len(good) else ()
            found += [measure(part).cpu().numpy() for part in parts]
    except Exception as raised:
        error = raised
    ranks.agree(error)
    gathered = [torch.from_numpy(part) for rank in ranks.gathered(found) for part in rank]
    return torch.cat(gathered) if gathered else torch.zeros(0)


def _normal(batch: Any) -> Tensor:
    """[b] which samples are neither padding nor known to be at fault."""
    normal: Tensor = (batch.weight > 0) & ~(batch.y > 0).any(dim=1)
    return normal


@torch.no_grad()
def _seen(setup: Setup, measure: Measure, feed: Feed) -> Seen:
    codes = torch.from_numpy(setup.codes).to(setup.device)
    stride, found, error = max(1, feed.samples // WINDOWS), [], None
    try:
        for batch in feed.source.epoch(0):
            real = _normal(batch)
            entity = codes[batch.entity[real][::stride]]
            found.append((measure(batch.x[real][::stride], entity).cpu().numpy(), entity.cpu().numpy()))
    except Exception as raised:
        error = raised
    ranks.agree(error)
    parts = [part for rank in ranks.gathered(found) for part in rank]
    if not parts:
        return Seen(np.zeros((0, 1), np.float32), np.zeros(0, np.int64))
    return Seen(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
