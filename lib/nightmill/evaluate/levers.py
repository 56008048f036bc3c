"""Which lever moves what is predicted: how much worse a model is where one input is dealt out anew among the samples.

Permutation importance: Breiman 2001, "Random Forests"; Fisher, Rudin & Dominici 2019, "All Models are Wrong, but Many
are Useful". It says what the model relies on, not what would happen if somebody moved the lever.
"""

from __future__ import annotations

import numpy as np
import torch

from nightmill.evaluate.probe import Probe
from nightmill.metrics import METRICS


def levers(probe: Probe) -> dict[str, float]:
    """Lever -> by how much the first metric is worse on the test part with its values dealt out anew, in its own unit.

    A lever is a column, with all features of it moved together; formulas over it are worked out anew. Levers that make
    no difference have about 0. An array is no lever.
    """
    if probe.bundle.shape.array:
        return {}
    usual, metric = probe.figure(probe.x), METRICS[probe.material.use_case.evaluate.metrics[0]]
    dealt = torch.from_numpy(np.random.default_rng(probe.bundle.seed).permutation(len(probe.x)))
    found = {}
    for lever, columns in probe.levers.items():
        now = probe.figure(probe.with_columns(columns, probe.x[dealt][:, :, probe.places(columns)]))
        found[lever] = usual - now if metric.higher else now - usual
    return found
