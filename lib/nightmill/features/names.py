"""Names of the columns that a use case's features become; needs no Spark."""

from __future__ import annotations

from nightmill.config import UseCase
from nightmill.config.features import Calendar, Columns, Feature, Neighbours


def names_of(feature: Feature) -> list[str]:
    """The gold columns of one feature: the columns' own names, `speed_out`, `speed_mean`, `minute_of_week` …"""
    if isinstance(feature, Columns | Calendar):
        return list(feature.of)
    if isinstance(feature, Neighbours):
        return [f"{feature.of}_{way}" for way in feature.along]
    return [f"{feature.of}_mean"]


def feature_names(use_case: UseCase) -> list[str]:
    """Columns that the model sees, in order, each once."""
    return list(dict.fromkeys(name for feature in use_case.features for name in names_of(feature)))
