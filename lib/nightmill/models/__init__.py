"""Torch modules by family. A family is one file here, its options in `nightmill.config.models`, and its line below."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightmill.models.network import Network
    from nightmill.models.shape import Fitted, Shape

FAMILIES = {
    "stid": ("nightmill.models.stid", "Stid"),
    "lstm": ("nightmill.models.lstm", "Lstm"),
    "gru": ("nightmill.models.gru", "Gru"),
    "cnn1d": ("nightmill.models.cnn1d", "Cnn1d"),
    "wdcnn": ("nightmill.models.wdcnn", "Wdcnn"),
    "efficientnet": ("nightmill.models.efficientnet", "Efficientnet"),
    "tcn": ("nightmill.models.tcn", "Tcn"),
    "nlinear": ("nightmill.models.nlinear", "Nlinear"),
    "patchtst": ("nightmill.models.patchtst", "Patchtst"),
    "mlp": ("nightmill.models.mlp", "Mlp"),
    "seasonal_naive": ("nightmill.models.seasonal_naive", "SeasonalNaive"),
    "ets": ("nightmill.models.ets", "Ets"),
    "pca": ("nightmill.models.pca", "Pca"),
    "state_space": ("nightmill.models.state_space", "StateSpace"),
    "next_state": ("nightmill.models.next_state", "NextState"),
    "patchcore": ("nightmill.models.patchcore", "Patchcore"),
    "autoencoder": ("nightmill.models.autoencoder", "Autoencoder"),
    "ensemble": ("nightmill.models.ensemble", "Ensemble"),
    "trees": ("nightmill.models.trees", "Trees"),
}
"""Name in `model.family` -> module and class; imported when built, because torch takes seconds to import."""


def build(options: Any, shape: Shape, fitted: Fitted | None = None) -> Network:
    """The untrained module of a family; `options` is one of `nightmill.config.models`."""
    module, name = FAMILIES[options.family]
    network: Network = getattr(import_module(module), name)(options, shape, fitted)
    return network


__all__ = ["FAMILIES", "build"]
