"""What every torch model of a use case has: the input's scale as buffers, and how to treat a missing value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nightmill.models.heads import HEADS, Head
from nightmill.models.shape import Fitted, Shape

AT_ONCE = 320_000
"""Numbers of arrays at a time: between its layers a network makes a hundred times as many of them, and fewer at a time
stay in the processor's cache."""


class Expected(NamedTuple):
    """What a network says of some windows, [b, steps] each, within what the target can be."""

    value: Tensor
    lower: Tensor
    upper: Tensor
    sure: Tensor | None
    """Probability of the class that is predicted; None where it is no class."""


class Network(nn.Module):
    """`forward(x [b, lookback, feature], entity [b] int64 codes, 0 = unknown) -> [b, steps, width]`, the parameters of
    its head: `head.value` of them is the prediction.

    A family implements `body` and sets `head` by `headed`, as the last of its layers. In training `ts` [b] (µs UTC of
    the origin) is a third argument, for what must not see the sample's own day. All that was fitted is a buffer, so
    the weights alone are enough to predict. Without `fitted` the buffers are placeholders that `load_state_dict` fills.
    """

    head: Head
    by_entity: tuple[str, ...] = ()
    """Names of weights [entity + 1, …] whose first dimension is the entity's code."""

    mean: Tensor
    std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, shape: Shape, fitted: Fitted | None) -> None:
        super().__init__()
        self.shape = shape
        width = len(shape.features)
        self.register_buffer("mean", torch.as_tensor(fitted.mean) if fitted else torch.zeros(width))
        self.register_buffer("std", torch.as_tensor(fitted.std) if fitted else torch.ones(width))
        self.register_buffer("target_mean", torch.tensor(fitted.target_mean if fitted else 0.0))
        self.register_buffer("target_std", torch.tensor(fitted.target_std if fitted else 1.0))

    def headed(self, inputs: int, zero: bool = False) -> Head:
        """The head that the shape asks for, over a body that gives `inputs` values; see `Head` for `zero`."""
        return HEADS[self.shape.head](inputs, self.shape, zero)

    def forward(self, x: Tensor, entity: Tensor, ts: Tensor | None = None, begun: bool = False) -> Tensor:
        h, base = self.body(x if begun else self.begin(x), entity, ts)
        parameters: Tensor = self.head(h, base, self.target_mean, self.target_std)
        return parameters

    def at_once(self, count: int) -> int:
        """Of so many samples those that are best predicted together."""
        return max(1, min(count, AT_ONCE // math.prod(self.shape.array)) if self.shape.array else count)

    @property
    def constant(self) -> int:
        """Layers that `begin` goes through: those before the first that is trained, 0 where it does nothing."""
        return 0

    def begin(self, x: Tensor) -> Tensor:
        """What `body` begins with; it stays the same while constant layers do. With `begun` x is that already."""
        return x

    def heat(self, x: Tensor) -> Tensor:
        """[b, height, width] how much each place of images speaks for what is predicted, from 0 to 1.

        Activation times gradient at each place, of the last layer and of a finer one, whose product shows what both
        see: after Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
        Localization", and Jiang et al. 2021, "LayerCAM". Raises NotImplementedError for families
        that see no images.
        """
        raise NotImplementedError

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(what the head sees [b, inputs], a first guess [b, 1 or steps] in the target's unit)."""
        raise NotImplementedError

    def expects(self, x: Tensor, entity: Tensor, share: float) -> Expected:
        """The prediction, and where the head expects `share` of the truths."""
        found = [self(*part) for part in zip(x.split(self.at_once(len(x))), entity.split(self.at_once(len(x))))]
        parameters = found[0] if len(found) == 1 else torch.cat(found)
        lower, upper = self.head.ends(parameters, share)
        within, sure = self.shape.within, self.head.sure(parameters)
        return Expected(within(self.head.value(parameters)), within(lower), within(upper), sure)

    def quantiles(self, x: Tensor, entity: Tensor, levels: Sequence[float]) -> Tensor:
        """[b, steps, levels] below which the head itself expects such a share of the truths; of a point the point."""
        found = []
        for level in levels:
            said = self.expects(x, entity, abs(2 * level - 1))
            found.append(said.upper if level >= 0.5 else said.lower)
        return torch.stack(found, dim=2)

    @property
    def tells_apart(self) -> bool:
        """Whether entities that training did not know are predicted as one that is like no other."""
        return bool(self.by_entity)

    def apart(self, x: Tensor, guess: Tensor) -> Tensor:
        """[b, lookback] the target's own past less `guess` [b, 1], in standard deviations; 0 where it is missing."""
        return _without_gaps((self._past(x) - guess) / self.target_std)

    def first_guess(self, x: Tensor) -> Tensor:
        """[b, 1] the last known value where the target's own past is seen, else its training mean."""
        return self.last_known(x).unsqueeze(1) if self.shape.past else self.average(x)

    def average(self, x: Tensor) -> Tensor:
        """[b, 1] the training mean of the target, as first guess."""
        return self.target_mean.expand(len(x)).unsqueeze(1)

    def normalised(self, x: Tensor) -> Tensor:
        """z-scores of x [b, lookback, feature]; a missing value (NaN) becomes 0, the training mean."""
        z = (x - self.mean).div_(self.std)
        return torch.nan_to_num_(z, 0.0, torch.inf, -torch.inf)

    def array(self, x: Tensor) -> Tensor:
        """The arrays [b, …] as float32, of a batch's bytes [b, 1, byte]; such arrays stay as they are."""
        if x.is_floating_point():
            return x
        typed = x if self.shape.array_type == "uint8" else x.view(getattr(torch, self.shape.array_type))
        return typed.view(len(x), *self.shape.array).float()

    def last_known(self, x: Tensor) -> Tensor:
        """[b] the newest known value of the target's own past, the target's mean where the window holds none."""
        past = self._past(x)
        position = torch.arange(1, past.shape[1] + 1, dtype=torch.int32, device=x.device)
        newest = (~past.isnan() * position).argmax(dim=1, keepdim=True)
        found = past.gather(1, newest).squeeze(1)
        return torch.where(found.isnan(), self.target_mean, found)

    def _past(self, x: Tensor) -> Tensor:
        """[b, lookback] the target's own past."""
        return x[:, :, self.shape.features.index(self.shape.past or "")]

    def scales(self, fitted: Fitted) -> Fitted:
        """What was fitted, with this network's scales in place of its own: weights mean the same only with them."""
        mean, std = (buffer.cpu().numpy() for buffer in (self.mean, self.std))
        return replace(
            fitted, mean=mean, std=std, target_mean=self.target_mean.item(), target_std=self.target_std.item()
        )

    def make_room(self, weights: dict[str, Tensor]) -> None:
        """Called before weights are loaded: buffers whose sizes follow from training take those of `weights`."""

    def settle(self) -> None:
        """Called once after training: gives what training never saw (the unknown entity) a sensible value."""


def _without_gaps(z: Tensor) -> Tensor:
    """0 in place of NaN; infinities stay, so that they are seen."""
    return torch.nan_to_num(z, 0.0, torch.inf, -torch.inf)
