"""The forecaster: what it knows before training, what it does with what it does not know."""

import numpy as np
import pytest
import torch

from nightmill.config.models import Stid
from nightmill.models import build
from nightmill.models.shape import FOLDS, Fitted, Shape

NAN = float("nan")
SHAPE = Shape(("speed", "minute_of_week"), lookback=3, horizon=2, pad=False, entities=2, past="speed", every=60)
OPTIONS = Stid(family="stid", window=3, hidden=8, blocks=1, embedding=4, slots=24, dropout=0)


def fitted(profile=None):
    profile = np.zeros((3, 2, 24), np.float32) if profile is None else profile
    return Fitted(np.array([50, 5000], np.float32), np.array([10, 3000], np.float32), 50.0, 10.0, profile)


def model(profile=None):
    torch.manual_seed(0)
    return build(OPTIONS, SHAPE, fitted(profile)).eval()


def value(model, x, entity=1):
    return model.head.value(model(x, torch.tensor([entity]))).tolist()


def window(*speeds, minute=600.0):
    return torch.tensor([[[speed, minute] for speed in speeds]])


def test_untrained_it_repeats_the_last_value():
    assert value(model(), window(40.0, 45.0, 47.0)) == [[47.0, 47.0]]


def test_a_missing_last_value_falls_back_to_the_newest_known_one():
    assert value(model(), window(40.0, 45.0, NAN)) == [[45.0, 45.0]]


def test_a_window_without_any_value_falls_back_to_the_training_mean():
    assert value(model(), window(NAN, NAN, NAN)) == [[50.0, 50.0]]


def test_missing_values_never_make_a_missing_forecast():
    trained = model()
    torch.nn.init.ones_(trained.head.linear.weight)
    assert torch.isfinite(trained(window(NAN, 3.0, NAN, minute=NAN), torch.tensor([0]))).all()


@pytest.mark.parametrize(
    ("minute", "expected"),
    [
        (600.0, [11, 12]),  # Monday 10:00: the profile at 11 and 12 h
        (23 * 60.0, [0, 1]),  # Monday 23:00: after midnight
        (5 * 1440 - 60.0, [100, 101]),  # Friday 23:00: Saturday's profile
        (7 * 1440 - 60.0, [0, 1]),  # Sunday 23:00: Monday's profile
    ],
)
def test_the_profile_ahead_is_that_of_the_predicted_hours(minute, expected):
    profile = np.tile(np.arange(24, dtype=np.float32), (3, 2, 1))
    profile[:, 1] += 100
    assert model(profile)._ahead(torch.tensor([minute]), torch.tensor([1])).tolist() == [expected]


def test_each_entity_has_its_own_profile():
    profile = np.zeros((3, 2, 24), np.float32)
    profile[2] = 7
    found = model(profile)._ahead(torch.tensor([0.0, 0.0]), torch.tensor([1, 2]))
    assert found.tolist() == [[0, 0], [7, 7]]


def test_in_training_the_profile_leaves_out_the_day_that_is_predicted():
    held_out = np.zeros((FOLDS, 3, 2, 24), np.float32) + np.arange(FOLDS, dtype=np.float32)[:, None, None, None]
    known = Fitted(np.zeros(2, np.float32), np.ones(2, np.float32), 0.0, 1.0, np.full((3, 2, 24), 99.0, "f4"), held_out)
    network = build(OPTIONS, SHAPE, known)
    monday = 4 + 7 * FOLDS  # days since 1970, a Monday
    ts = torch.tensor([(monday * 1440 + 22 * 60) * 60_000_000])
    arguments = torch.tensor([22 * 60.0]), torch.tensor([1]), ts
    assert network.train()._ahead(*arguments).tolist() == [[monday % FOLDS, (monday + 1) % FOLDS]]
    assert network.eval()._ahead(*arguments).tolist() == [[99, 99]]
    assert "held_out" not in network.state_dict(), "it serves training alone"


def test_the_unknown_entity_is_the_mean_of_the_known():
    trained = model()
    trained.settle()
    known = trained.entity.weight[1:].mean(dim=0)
    assert torch.equal(trained.entity.weight[0], known)


def test_without_a_clock_it_needs_neither_profile_nor_time_embeddings():
    shape = Shape(("speed",), lookback=3, horizon=2, pad=False, entities=2, past="speed", every=60)
    names = set(build(OPTIONS, shape).state_dict())
    assert not names & {"profile", "slot.weight", "weekend.weight"}


def test_without_the_targets_own_past_it_starts_from_the_training_mean():
    shape = Shape(("rain",), lookback=2, horizon=2, pad=False, entities=1, past=None, every=60)
    found = build(OPTIONS, shape, Fitted(np.zeros(1, np.float32), np.ones(1, np.float32), 50.0, 10.0))
    assert value(found.eval(), torch.ones(1, 2, 1)) == [[50.0, 50.0]]


def guessing(*rows):
    shape = Shape(("speed", "usual"), lookback=3, horizon=2, pad=False, entities=2, past="speed", every=60)
    known = Fitted(np.array([50, 50], np.float32), np.array([10, 10], np.float32), 50.0, 10.0)
    network = build(OPTIONS.model_copy(update={"guess": "usual"}), shape, known).eval()
    return value(network, torch.tensor([rows]))


def test_untrained_it_repeats_what_a_feature_guessed_a_horizon_before_each_step():
    assert guessing((40.0, 1.0), (45.0, 61.0), (47.0, 62.0)) == [[61.0, 62.0]]


def test_a_missing_guess_is_the_last_known_value():
    assert guessing((40.0, 1.0), (45.0, NAN), (NAN, 62.0)) == [[45.0, 62.0]]
