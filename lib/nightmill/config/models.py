"""Options of each model family; the modules themselves are in `nightmill.models`, one file per family."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from nightmill.config.values import Fraction, Options


class Stid(Options):
    """Spatial-temporal identity forecaster: entity and time embeddings with a residual MLP."""

    family: Literal["stid"]
    window: PositiveInt = 12
    """Steps of history that the model sees."""
    hidden: PositiveInt = 96
    """Width of the residual blocks."""
    blocks: PositiveInt = 3
    """Residual blocks."""
    embedding: PositiveInt = 32
    """Width of the history, entity, time-of-day and weekend embeddings each."""
    slots: PositiveInt = 48
    """Time-of-day embeddings per day."""
    profile_smoothing: int = Field(default=2, ge=0)
    """Steps on each side over which the time-of-day profile of the training part is averaged."""
    dropout: Fraction = 0.2
    """Share of hidden units dropped in training."""


class Lstm(Options):
    """Recurrent regressor: LSTM layers, attention pooling over the window, linear head."""

    family: Literal["lstm"]
    window: PositiveInt = 50
    """Steps of history that the model sees; shorter histories are padded with their first row."""
    hidden: PositiveInt = 48
    """Width of each layer."""
    layers: PositiveInt = 2
    """LSTM layers."""
    dropout: Fraction = 0.2
    """Share of units dropped between layers and before the head in training."""


class Mlp(Options):
    """Regressor over the mean, the slope and the latest mean of each feature in the window."""

    family: Literal["mlp"]
    window: PositiveInt = 50
    """Steps of history that are summarised; shorter histories are padded with their first row."""
    recent: PositiveInt = 10
    """Steps of the latest mean."""
    hidden: PositiveInt = 64
    """Width of each layer."""
    layers: PositiveInt = 2
    """Hidden layers."""
    dropout: Fraction = 0.2
    """Share of units dropped in training."""


Model = Annotated[Stid | Lstm | Mlp, Field(discriminator="family")]
