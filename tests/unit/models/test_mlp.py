"""The regressor over window summaries."""

import numpy as np
import pytest
import torch

from nightmill.config.models import Mlp
from nightmill.models import build
from nightmill.models.shape import Fitted, Shape

SHAPE = Shape(("heat", "speed"), lookback=5, horizon=0, pad=True, entities=3, past=None, every=60)
FITTED = Fitted(np.array([500, 9000], np.float32), np.array([5, 20], np.float32), 80.0, 40.0)


def model(shape=SHAPE, **options):
    torch.manual_seed(0)
    return build(Mlp(family="mlp", window=shape.lookback, recent=2, hidden=8, **options), shape, FITTED).eval()


def window(heat, speed):
    return torch.tensor([[[h, s] for h, s in zip(heat, speed, strict=True)]])


def test_a_window_is_summed_up_by_mean_slope_and_latest_mean():
    # heat rises by one deviation a row, speed stands two deviations above its mean
    seen = model().summary(window([500.0, 505, 510, 515, 520], [9040.0] * 5))
    assert seen.tolist()[0] == pytest.approx([2, 2, 2, 0, 3.5, 2], abs=1e-5)  # (mean, slope, latest) x (heat, speed)


def test_a_missing_value_counts_as_the_training_mean():
    missing, filled = (window([500.0, h, 510, 515, 520], [9040.0] * 5) for h in (float("nan"), 500.0))
    assert torch.equal(model().summary(missing), model().summary(filled))


def test_a_window_of_one_row_is_seen_as_it_is():
    made = model(Shape(SHAPE.features, 1, 0, True, entities=3, past=None, every=60))
    x = torch.tensor([[[505.0, 9020.0]]])
    assert made.summary(x).tolist() == [[1, 1]]
    assert made.layers[0].in_features == 2 and made(x, torch.tensor([0])).shape == (1, 1, 1)


def test_without_layers_it_is_linear_in_its_row():
    made = model(Shape(SHAPE.features, 1, 0, True, entities=3, past=None, every=60), layers=0)
    rows = torch.tensor([[[500.0, 9000.0]], [[505.0, 9020.0]], [[510.0, 9040.0]]])
    low, middle, high = made(rows, torch.zeros(3, dtype=torch.int64)).flatten().tolist()
    assert high - middle == pytest.approx(middle - low) and high != low


def test_who_the_entity_is_changes_nothing():
    x = window([500.0, 505, 510, 515, 520], [9040.0] * 5)
    one, other = (model()(x, torch.tensor([code])) for code in (0, 3))
    assert one.shape == (1, 1, 1) and torch.equal(one, other)


def test_its_weights_come_back_without_what_follows_from_the_shape():
    first = model()
    torch.manual_seed(9)
    second = build(Mlp(family="mlp", window=5, recent=2, hidden=8), SHAPE)
    second.load_state_dict(first.state_dict())
    x = window([500.0, 505, 510, 515, 520], [9040.0] * 5)
    assert torch.equal(first(x, torch.tensor([0])), second.eval()(x, torch.tensor([0])))
    assert "time" not in first.state_dict()
