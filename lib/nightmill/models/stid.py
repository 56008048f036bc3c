"""Forecasts from an entity's recent history, its identity and the time of day."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nightmill.config.models import Stid as Options
from nightmill.models.dropout import Dropout
from nightmill.models.network import Network
from nightmill.models.shape import CLOCK, FOLDS, MINUTES_PER_DAY, WEEKEND, Fitted, Shape, local_day


class Stid(Network):
    """Residual MLP over history with entity and time embeddings.

    After Shao et al. 2022, "Spatial-Temporal Identity: A Simple yet Effective Baseline for Multivariate Time Series
    Forecasting" (CIKM). Two additions: where the features hold `minute_of_week`, the entity's known time-of-day profile
    at the predicted steps is an input; and the head starts at zero and is added to the last known value, or to the
    feature `guess`, so that an untrained model is the naive forecast.
    """

    profile: Tensor
    held_out: Tensor
    by_entity = ("entity.weight",)

    def __init__(self, options: Options, shape: Shape, fitted: Fitted | None = None) -> None:
        super().__init__(shape, fitted)
        width = options.embedding
        self.clock = shape.features.index(CLOCK) if CLOCK in shape.features else None
        self.guess = shape.features.index(options.guess) if options.guess else None
        self.series = [i for i in range(len(shape.features)) if i != self.clock]
        inputs = len(self.series) * shape.lookback + (shape.steps if self.clock is not None else 0)
        self.history = nn.Linear(inputs, width)
        self.entity = nn.Embedding(shape.entities + 1, width)
        parts = 2
        if self.clock is not None:
            size = (shape.entities + 1, 2, shape.slots)
            known = fitted is not None and fitted.profile is not None
            if fitted is not None and fitted.held_out is not None:
                self.register_buffer("held_out", torch.as_tensor(fitted.held_out), persistent=False)
            self.register_buffer("profile", torch.as_tensor(fitted.profile) if known else torch.zeros(size))  # type: ignore[union-attr]
            self.slot, self.weekend = nn.Embedding(options.slots, width), nn.Embedding(2, width)
            parts = 4
        self.widen = nn.Linear(parts * width, options.hidden)
        self.blocks = nn.ModuleList(_Block(options.hidden, options.dropout) for _ in range(options.blocks))
        self.head = self.headed(options.hidden, zero=True)

    def body(self, x: Tensor, entity: Tensor, ts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        base = self._base(x)
        seen = [self.normalised(x)[:, :, self.series].flatten(1)]
        identity = [self.entity(entity)]
        if self.clock is not None:
            minute = x[:, -1, self.clock].nan_to_num(0.0)
            seen.append((self._ahead(minute, entity, ts) - self.target_mean) / self.target_std)
            day_slot = minute % MINUTES_PER_DAY * (self.slot.num_embeddings / MINUTES_PER_DAY)
            identity += [self.slot(day_slot.long()), self.weekend((minute >= WEEKEND).long())]
        h = self.widen(torch.cat([self.history(torch.cat(seen, 1)), *identity], 1))
        for block in self.blocks:
            h = block(h)
        return h, base

    def _base(self, x: Tensor) -> Tensor:
        """[b, 1 or steps] what is added to: the last known value, or what the rows a horizon before have guessed."""
        last = self.first_guess(x)
        if self.guess is None:
            return last
        guessed = x[:, -self.shape.steps :, self.guess]
        return torch.where(guessed.isnan(), last, guessed)

    def _ahead(self, minute: Tensor, entity: Tensor, ts: Tensor | None = None) -> Tensor:
        """[b, steps] the entity's profile at the predicted steps; the origin's minute of the week rolls over Sunday.

        In training, where `ts` is given, without the day that is predicted.
        """
        ahead = torch.arange(1, self.shape.steps + 1, device=minute.device) * self.shape.every
        at = (minute.unsqueeze(1) + ahead) % (7 * MINUTES_PER_DAY)
        slot = (at % MINUTES_PER_DAY * (self.shape.slots / MINUTES_PER_DAY)).long()
        cell = entity.unsqueeze(1), (at >= WEEKEND).long(), slot
        if ts is None or not self.training:
            return self.profile[cell]
        of_day = minute % MINUTES_PER_DAY
        day = local_day(ts, of_day).unsqueeze(1) + ((of_day.unsqueeze(1) + ahead) // MINUTES_PER_DAY).long()
        return self.held_out[(day % FOLDS, *cell)]

    @torch.no_grad()
    def settle(self) -> None:
        """The unknown entity is the mean of the known ones."""
        if self.shape.entities:
            self.entity.weight[0] = self.entity.weight[1:].mean(dim=0)


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.into, self.out, self.drop = nn.Linear(width, width), nn.Linear(width, width), Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.out(self.drop(torch.relu(self.into(x))))
        return out
