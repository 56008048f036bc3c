"""What `label` and `score` say of a prediction: its class, or that it calls for somebody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightmill.config.monitor import Monitor
from nightmill.metrics import beyond
from nightmill.models.bundle import Predicted
from nightmill.models.shape import Shape

ALARM = "alarm"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Marks:
    """Classes are labelled with their names and scored with their probability; of other values those beyond a limit
    are labelled `alarm`, and the score says how far they are: 1 at the limit, 1.5 half of it beyond."""

    labels: tuple[str, ...]
    """Names that `label` may hold; none where predictions get neither label nor score."""
    below: float | None
    """The least value that is no alarm."""
    above: float | None
    """The greatest."""

    @classmethod
    def of(cls, shape: Shape, limits: Monitor, threshold: float | None) -> Marks:
        """Those of a model's predictions under the limits of its use case, or the threshold that the model knows."""
        below, above = limits.below, limits.above
        if below is None and above is None:
            above = threshold
        if shape.classes:
            return cls(shape.classes, None, None)
        return cls(() if below is None and above is None else (ALARM,), below, above)

    def put(self, said: Predicted) -> tuple[NDArray[np.int32], Floats] | None:
        """(label, score), each [n, steps]: position in `labels`, -1 for none; NaN where there is no score."""
        if not self.labels:
            return None
        if self.below is None and self.above is None:
            sure = np.full_like(said.value, np.nan) if said.sure is None else said.sure
            return said.value.round().astype(np.int32), sure
        score = beyond(said.value, self.below, self.above).astype(np.float32)
        return np.where(score > 1, 0, -1).astype(np.int32), score
