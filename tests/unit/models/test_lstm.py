"""The recurrent regressor."""

import numpy as np
import torch

from nightmill.config.models import Lstm
from nightmill.models import build
from nightmill.models.shape import Fitted, Shape

SHAPE = Shape(("heat", "speed"), lookback=6, horizon=0, pad=True, entities=3, past=None, every=60)
FITTED = Fitted(np.array([500, 9000], np.float32), np.array([5, 20], np.float32), 80.0, 40.0)


def model():
    torch.manual_seed(0)
    return build(Lstm(family="lstm", window=6, hidden=8, layers=2), SHAPE, FITTED).eval()


def windows():
    torch.manual_seed(1)
    return torch.randn(4, 6, 2) * FITTED.std + FITTED.mean


def test_one_value_per_window():
    assert model()(windows(), torch.zeros(4, dtype=torch.int64)).shape == (4, 1, 1)


def test_who_the_entity_is_changes_nothing():
    one, other = (model()(windows(), torch.full((4,), code)) for code in (0, 3))
    assert torch.equal(one, other)


def test_a_missing_value_counts_as_the_training_mean():
    missing, filled = windows(), windows()
    missing[0, 2, 1], filled[0, 2, 1] = float("nan"), 9000.0
    codes = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(model()(missing, codes), model()(filled, codes))


def test_the_units_of_a_feature_do_not_matter():
    scaled = Fitted(FITTED.mean * np.float32(1024), FITTED.std * np.float32(1024), 80.0, 40.0)
    torch.manual_seed(0)
    other = build(Lstm(family="lstm", window=6, hidden=8, layers=2), SHAPE, scaled).eval()
    codes = torch.zeros(4, dtype=torch.int64)
    assert torch.allclose(model()(windows(), codes), other(windows() * 1024, codes), atol=1e-4)
