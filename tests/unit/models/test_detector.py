"""Detectors: what is normal is learnt by entity, what wanders is left out, alarms stay until it is calm."""

import numpy as np
import pytest
import torch

from nightmill.config.models import Autoencoder, NextState, Pca, StateSpace
from nightmill.models import build
from nightmill.models.bundle import differences
from nightmill.models.detector import Seen
from nightmill.models.shape import Fitted, Shape

NAN = float("nan")
SHAPE = Shape(("heat", "flow", "valve"), 6, 0, False, entities=2, past=None, every=1, low=0.0, head="anomaly")
MEAN = np.array([[50, 5, 0], [40, 5, 0], [60, 5, 0]], np.float32)
STD = np.array([[10, 1, 1], [2, 1, 1], [4, 1, 1]], np.float32)
FITTED = Fitted(MEAN[0], STD[0], 0.0, 1.0, entity_mean=MEAN, entity_std=STD)


def detector(kind=StateSpace, **options):
    torch.manual_seed(0)
    name = {StateSpace: "state_space", Pca: "pca", NextState: "next_state", Autoencoder: "autoencoder"}[kind]
    made = kind(family=name, window=6, smooth=2, **options)
    return build(made, SHAPE, FITTED).eval()


def window(heat, flow=5.0, valve=0.0):
    return torch.tensor([[[value, flow, valve] for value in heat]])


@pytest.mark.parametrize("kind", [StateSpace, Pca, NextState, Autoencoder])
def test_each_family_says_an_index_and_a_loss_for_any_window(kind):
    network = detector(kind)
    known, missing = window([40.0] * 6), window([NAN] * 6, flow=NAN, valve=NAN)
    for x in (known, missing):
        parameters = network(x, torch.tensor([1]))
        assert parameters.shape == (1, 1, 2) and torch.isfinite(parameters).all()
    network.train()
    assert network(known, torch.tensor([1])).requires_grad == (kind is not Pca)


def test_every_entity_is_held_to_its_own_rows():
    network = detector()
    x = window([44.0] * 6)
    assert network.standardised(x, torch.tensor([1]))[0, 0].tolist() == [2, 0, 0]
    assert network.standardised(x, torch.tensor([2]))[0, 0].tolist() == [-4, 0, 0]


def test_a_missing_value_is_no_fault():
    network = detector()
    residual = network.unexpected(window([60.0, 60, 60, 60, NAN, 60]), torch.tensor([1]))
    assert residual[0, :, 0].tolist() == [10, 10, 10, 0, 10]


def test_a_state_follows_from_the_one_before_and_from_inputs_of_its_own_row():
    network = detector(inputs=["valve"])
    assert network.states == [0, 1] and network.drives == [2]
    with torch.no_grad():
        network.next.weight.copy_(torch.tensor([[0.5, 0.0, 2.0], [0.0, 1.0, 0.0]]))
    heat = [42.0, 42, 42, 42, 42, 42]
    x = window(heat, valve=1.0)
    # z of heat is 1: expected 0.5 * 1 + 2 * valve
    assert network.residuals(network.standardised(x, torch.tensor([1])))[0, -1].tolist() == [1 - 2.5, 0]


def test_an_alarm_stays_until_the_index_is_clearly_below():
    latched = detector().latched
    assert latched(torch.tensor([[0.5, 1.2, 0.9, 0.9]])).item() >= 1  # above 0.8: not over yet
    assert latched(torch.tensor([[0.5, 1.2, 0.7, 0.9]])).item() < 1  # it was calm for a row
    assert latched(torch.tensor([[0.5, 0.9, 0.9, 0.9]])).item() < 1  # never raised


def test_what_wanders_in_training_says_nothing_afterwards():
    draws = np.random.default_rng(1)
    level = draws.normal(size=(500, 3)) / np.sqrt(6)
    level[:, 1] *= 5
    network = detector(drift=3.0)
    network.leave_out(Seen(level.astype(np.float32), np.repeat([1, 2], 250)))
    assert network.wander.tolist() == pytest.approx([1, 5, 1], rel=0.15)
    assert network.kept.tolist() == [1, 0, 1]
    strange = window([40.0] * 6, flow=500.0)
    assert network.unexpected(strange, torch.tensor([1])).abs().max() == 0


def test_where_everything_wanders_nothing_is_left_out():
    network = detector(drift=0.01)
    network.leave_out(Seen(np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32), np.ones(50, np.int64)))
    assert network.kept.tolist() == [1, 1, 1]


def test_the_level_is_what_a_share_of_validation_is_above_and_limits_are_the_entity_s_own():
    draws = np.random.default_rng(2)
    entity = np.repeat([1, 2], 5000)
    train, judged = (draws.normal(size=(10000, 3)) * np.where(entity == 1, 1, 7)[:, None] for _ in range(2))
    network = detector(alarms=0.1)
    training = Seen(train.astype(np.float32), entity)
    network.learn(training, Seen(judged.astype(np.float32), entity))
    assert network.limit[1].tolist() == pytest.approx([2.58] * 3, rel=0.1)  # of |normal|, .99
    assert network.limit[2].tolist() == pytest.approx([2.58 * 7] * 3, rel=0.1)
    at = np.abs(judged) / network.limit.numpy()[entity]
    assert np.mean(at.max(axis=1) / network.level.item() > 1) == pytest.approx(0.1, abs=0.002)


def test_entities_of_few_windows_have_the_limits_of_all():
    network = detector()
    value = np.random.default_rng(3).normal(size=(300, 3)).astype(np.float32)
    entity = np.where(np.arange(300) < 5, 2, 1)
    network.learn(Seen(value, entity), Seen(value[:0], entity[:0]))
    assert torch.equal(network.limit[2], network.limit[0])


def test_t2_and_q_equal_numpy():
    draws = np.random.default_rng(4)
    value = (draws.normal(size=(2000, 3)) @ np.array([[3, 1, 0], [0, 1, 0.2], [0, 0, 0.1]])).astype(np.float32)
    network = detector(Pca, share=0.95)
    network.fit_statistics(torch.from_numpy(value))
    variance, axes = np.linalg.eigh(np.cov(value.T.astype(float), bias=True))
    variance, axes = variance[::-1], axes[:, ::-1]
    count = int(np.searchsorted(variance.cumsum() / variance.sum(), 0.95)) + 1
    along = value @ axes
    t2 = (along[:, :count] ** 2 / variance[:count]).sum(axis=1)
    q = (along[:, count:] ** 2).sum(axis=1)
    found = network.statistics(torch.from_numpy(value)).numpy() ** 2
    assert 0 < count < 3
    assert found[:, 0] == pytest.approx(t2, rel=1e-3, abs=1e-5) and found[:, 1] == pytest.approx(q, rel=1e-3, abs=1e-5)


def test_all_that_was_learnt_is_in_its_weights():
    first, second = detector(Pca), build(Pca(family="pca", window=6, smooth=2), SHAPE)
    value = np.random.default_rng(5).normal(size=(200, 3)).astype(np.float32)
    first.learn(Seen(value, np.ones(200, np.int64)), Seen(value, np.ones(200, np.int64)))
    weights = first.state_dict()
    assert not differences(second, weights)
    second.load_state_dict(weights)
    x, entity = window([44.0, 45, 47, 41, 40, 39]), torch.tensor([1])
    assert torch.equal(first(x, entity), second.eval()(x, entity))
