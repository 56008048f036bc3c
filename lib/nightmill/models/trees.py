"""Gradient-boosted trees over what a window amounts to: a body like the others, for all heads but two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nightmill.config.models import Trees as Options
from nightmill.models.heads import SMALL
from nightmill.models.network import Network
from nightmill.models.shape import Fitted, Shape

FOREST = "forest."
"""Start of the names of the buffers that hold the trees."""
SUMMARIES = ("mean", "slope", "deviation", "least", "most", "recent")


class Trees(Network):
    """LightGBM: Ke et al. 2017, "LightGBM: A Highly Efficient Gradient Boosting Decision Tree" (NeurIPS).

    One booster per step ahead, or the same for all, and per level of a quantile head. `nightmill.train.boost` grows
    them; their text is a buffer of bytes, so that a file of weights holds them and nothing is unpickled. Where the own
    past is seen they say what to add to its last known value. A missing value is missing to the trees, too.
    """

    dispersion: Tensor

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        self.options = options
        self.lags = sorted({lag for lag in (0, *options.lags) if lag < shape.lookback})
        self.recent, self.knows_entity = min(options.recent, shape.lookback), options.entity
        self.head = self.headed(1)
        self.head.linear = nn.Identity()  # type: ignore[assignment]
        if shape.head == "negative_binomial":
            self.register_buffer("dispersion", torch.tensor(1.0))
        self.forest = nn.Module()
        for number in range(self.boosters):
            self.forest.register_buffer(f"{number}", torch.zeros(0, dtype=torch.uint8))
        self._grown: dict[int, Any] = {}

    @property
    def each(self) -> int:
        """Boosters of a step: one per parameter of the head, but one for all classes, and one for a mean whose
        dispersion is the same for all."""
        return 1 if self.shape.head in ("classes", "negative_binomial") else self.head.width

    @property
    def boosters(self) -> int:
        """How many there are: those of each step ahead, unless all steps have the same."""
        return self.each * (1 if self.options.together else self.shape.steps)

    def raw(self, columns: NDArray[np.float32], score: Callable[[int, NDArray[np.float32]], Any]) -> list[Any]:
        """What each booster of each step says: `score` is called with a booster's number and what it sees."""
        found = []
        for step in range(self.shape.steps):
            first, seen = 0 if self.options.together else step * self.each, self.at_step(columns, step)
            found += [score(first + number, seen) for number in range(self.each)]
        return found

    def at_step(self, columns: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        """What the trees of a step see of `columns`: where all steps have the same trees, the step as well."""
        if not self.options.together:
            return columns
        return np.column_stack([columns, np.full(len(columns), step, np.float32)])

    @property
    def names(self) -> list[str]:
        """What each column is that the trees split on."""
        found = [f"{name}, {lag} back" if lag else name for lag in self.lags for name in self.shape.features]
        if self.shape.lookback > 1:
            found += [f"{name}, {kind}" for kind in SUMMARIES for name in self.shape.features]
        return found + ["entity"] * self.knows_entity

    def make_room(self, weights: dict[str, Tensor]) -> None:
        for number in range(self.boosters):
            found = weights.get(f"{FOREST}{number}")
            if found is not None and found.dim() == 1 and found.dtype == torch.uint8:
                self.forest.register_buffer(f"{number}", torch.zeros_like(found))
        self._grown.clear()

    def plant(self, texts: list[str], dispersion: float | None = None) -> None:
        """Takes over the boosters, as LightGBM writes them, and the dispersion of a negative binomial head."""
        if dispersion is not None:
            self.dispersion.fill_(dispersion)
        for number, text in enumerate(texts):
            content = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
            self.forest.register_buffer(f"{number}", content.to(self.mean.device))
        self._grown.clear()

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        columns = self.columns(x, entity)
        return self.linked(self.raw(columns, self._score)).to(x.device), self.first_guess(x)

    def linked(self, raw: list[NDArray[np.float64]]) -> Tensor:
        """[b, steps * width] what the head wants to see, from each booster's raw scores [b] or [b, class]."""
        scores = torch.from_numpy(np.stack(raw, axis=1)).float().flatten(1)
        mean = self.target_mean.cpu()
        if self.shape.head == "poisson":
            return scores - mean.clamp(min=SMALL).log()
        if self.shape.head == "negative_binomial":
            spread = (self.dispersion.cpu() - SMALL).clamp(min=SMALL)
            spread = spread + torch.log(-torch.expm1(-spread))  # softplus backwards
            rate = scores - mean.clamp(min=SMALL).log()
            return torch.stack([rate, spread.expand_as(rate)], dim=2).flatten(1)
        if self.shape.head == "probability":
            return scores - torch.logit(mean, eps=1e-4)
        if self.shape.head == "quantiles":
            levels = scores.unflatten(1, (self.shape.steps, self.head.width)).sort(dim=2).values
            middle, steps = self.head.width // 2, levels.diff(dim=2).clamp(min=SMALL)
            apart = steps + torch.log(-torch.expm1(-steps))  # softplus backwards
            return torch.cat([apart[..., :middle], levels[..., middle : middle + 1], apart[..., middle:]], 2).flatten(1)
        return scores

    def columns(self, x: Tensor, entity: Tensor) -> NDArray[np.float32]:
        """[b, column] what the trees split on, NaN where nothing is known; `names` says what each is.

        Earlier values of the own past are less the last known one.
        """
        x = x.detach().cpu()
        own = torch.zeros(x.shape[2])
        if self.shape.past:
            own[self.shape.features.index(self.shape.past)] = 1
        last = self.last_known(x.to(self.mean.device)).cpu()[:, None] * own if self.shape.past else 0.0
        parts = [x[:, -1 - lag] - (last if lag else 0.0) for lag in self.lags]
        if self.shape.lookback > 1:
            known, time = ~x.isnan(), torch.arange(float(self.shape.lookback))[None, :, None]
            count, filled = known.sum(dim=1), torch.nan_to_num(x)
            mean, middle = filled.sum(dim=1) / count, (known * time).sum(dim=1) / count
            off, away = known * (time - middle[:, None]), torch.where(known, x - mean[:, None], 0.0)
            slope = (away * off).sum(dim=1) / off.square().sum(dim=1)
            deviation = (away.square().sum(dim=1) / count).sqrt()
            least = torch.where(known, x, torch.inf).amin(dim=1) + 0 * mean  # NaN where nothing is known
            most = torch.where(known, x, -torch.inf).amax(dim=1) + 0 * mean
            recent = x[:, -self.recent :].nanmean(dim=1)
            parts += [mean - last, slope, deviation, least - last, most - last, recent - last]
        if self.knows_entity:
            parts.append(entity.cpu()[:, None].float())
        return torch.cat(parts, dim=1).numpy()

    def _score(self, number: int, columns: NDArray[np.float32]) -> NDArray[np.float64]:
        """[b] or [b, class] raw scores of a booster; 0 where nothing has grown yet."""
        if number not in self._grown:
            import lightgbm

            text = bytes(self.forest.get_buffer(f"{number}").cpu().numpy()).decode()
            self._grown[number] = lightgbm.Booster(model_str=text) if text else None
        if self._grown[number] is None:
            return np.zeros((len(columns), self.head.width) if self.shape.head == "classes" else len(columns))
        return np.asarray(self._grown[number].predict(columns, raw_score=True, num_threads=torch.get_num_threads()))
