"""Says where images are unlike any that were good, from what a network learnt of photographs: no defect is needed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nightmill.config.models import Patchcore as Options
from nightmill.models.efficientnet import FINE, Efficientnet
from nightmill.models.heads import SMALL
from nightmill.models.shape import Fitted, Shape

COARSE = 5
"""The layer before `FINE` whose patches are remembered, too: its places are 8 pixels apart."""
PROJECTED = 64
"""Dimensions in which patches are told apart while some are chosen."""
AT_ONCE = 4_000_000
"""Distances that are held at a time."""


class Patchcore(Efficientnet):
    """PatchCore: the health index is how far the strangest patch of an image is from all that are remembered.

    Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection" (CVPR). Patches are what two middle layers
    of EfficientNet-Lite0 say of each place and its neighbours. Of the training images' patches those are kept that
    cover the others best (k-centre, Gonzalez 1985). The index is 1 where `alarms` of the good validation images are
    above it. Nothing is trained; images that are known to be faulty are never remembered.
    """

    memory: Tensor
    level: Tensor

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(options, shape, fitted)  # type: ignore[arg-type]
        self.options = options
        self.backbone = self.backbone[: FINE + 1].requires_grad_(False)
        self.register_buffer("memory", torch.zeros(0, self.channels))
        self.register_buffer("level", torch.ones(()))

    @property
    def channels(self) -> int:
        """Numbers that describe a patch."""
        return sum(self.backbone[number].layers[-1].conv.out_channels for number in (COARSE, FINE))  # type: ignore

    def forward(self, x: Tensor, entity: Tensor, ts: Tensor | None = None, begun: bool = False) -> Tensor:
        index = self.strangeness(self.patches(x)).flatten(1).amax(dim=1) / self.level
        return torch.stack([index, torch.zeros_like(index)], dim=1).float().unsqueeze(1)

    def heat(self, x: Tensor) -> Tensor:
        size = self.array(x).shape[1:3]
        with torch.inference_mode():
            maps = self.strangeness(self.patches(x))
        wide = functional.interpolate(maps.unsqueeze(1), size, mode="bilinear")[:, 0]
        low, high = wide.amin(dim=(1, 2), keepdim=True), wide.amax(dim=(1, 2), keepdim=True)
        return (wide - low) / (high - low).clamp(min=SMALL)

    def patches(self, x: Tensor) -> Tensor:
        """[b, height, width, channels] of images: a description of each place, 8 pixels apart, with its neighbours."""
        found, kept = self._picture(self.array(x)), list[Tensor]()
        for number, layer in enumerate(self.backbone):
            found = layer(found)
            if number in (COARSE, FINE):
                kept.append(functional.avg_pool2d(found, 3, stride=1, padding=1, count_include_pad=False))
        finer = functional.interpolate(kept[1], kept[0].shape[2:], mode="bilinear")
        return torch.cat([kept[0], finer], dim=1).movedim(1, 3)

    def strangeness(self, patches: Tensor) -> Tensor:
        """[…] distance of patches […, channels] from the nearest that is remembered; 0 while none is."""
        if not len(self.memory):
            return torch.zeros(patches.shape[:-1], device=patches.device)
        parts = patches.flatten(0, -2).float().split(max(1, AT_ONCE // len(self.memory)))
        return torch.cat([torch.cdist(part, self.memory).amin(dim=1) for part in parts]).view(patches.shape[:-1])

    @torch.no_grad()
    def remember(self, patches: Tensor, seed: int) -> None:
        """Keeps `options.memory` of the patches [n, channels] at most: each is the farthest from those before."""
        random = torch.Generator().manual_seed(seed)
        count = min(self.options.memory, len(patches))
        seen = patches.cpu() @ torch.randn(self.channels, PROJECTED, generator=random)
        apart, chosen = torch.full((len(seen),), torch.inf), [int(torch.randint(len(seen), (1,), generator=random))]
        while len(chosen) < count:
            apart = torch.minimum(apart, (seen - seen[chosen[-1]]).square().sum(dim=1))
            chosen.append(int(apart.argmax()))
        self.memory = patches[chosen].to(self.level.device).float()

    def judge_by(self, distance: Tensor) -> None:
        """Sets the level of an alarm from the greatest distance [n] of each good image."""
        self.level.fill_(max(float(torch.quantile(distance, 1 - self.options.alarms)), SMALL))

    def make_room(self, weights: dict[str, Tensor]) -> None:
        found = weights.get("memory")
        if found is not None and found.dim() == 2 and found.shape[1] == self.channels:
            self.memory = torch.zeros_like(found)
