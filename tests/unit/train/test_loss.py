"""Losses over known targets only: errors in units of the target's deviation, likelihoods in nats."""

import numpy as np
import pytest
import torch
from scipy import stats

from nightmill.config.models import Mlp
from nightmill.models import build
from nightmill.models.shape import Fitted, Shape
from nightmill.train.loss import HEAD_OF, LIMITS, LOSSES, per_value, sums

NAN = float("nan")


def network(head="point", steps=1, std=10.0, mean=4.0, **shape):
    torch.manual_seed(0)
    shape = Shape(("a",), 3, steps, True, entities=0, past=None, every=1, head=head, **shape)
    fitted = Fitted(np.zeros(1, np.float32), np.ones(1, np.float32), mean, std)
    return build(Mlp(family="mlp", window=3, hidden=4, layers=1, dropout=0), shape, fitted)


def each(name, head, parameters, y, **shape):
    """Losses of single values, given their parameters."""
    parameters = torch.tensor(parameters).view(len(y), 1, -1)
    found, _ = per_value(name, network(head, **shape), parameters, torch.tensor(y).unsqueeze(1), torch.ones(len(y)))
    return found.squeeze(1).tolist()


def mean(name, value, y, weight):
    total, weights = sums(name, network(), torch.tensor(value).unsqueeze(2), torch.tensor(y), torch.tensor(weight))
    return (total / weights).item()


@pytest.mark.parametrize(("name", "expected"), [("mae", 2.0), ("mse", 5.0), ("huber", 1.5)])
def test_errors_count_in_deviations(name, expected):
    assert mean(name, [[10.0], [30.0]], [[0.0], [0.0]], [1.0, 1.0]) == pytest.approx(expected)


def test_an_unknown_target_has_neither_loss_nor_gradient():
    value = torch.tensor([[[1.0], [2.0]]], requires_grad=True)
    total, weights = sums("mse", network(std=1.0), value, torch.tensor([[NAN, 0.0]]), torch.ones(1))
    (total / weights).backward()
    assert (total.item(), weights.item(), value.grad.flatten().tolist()) == (4.0, 1.0, [0.0, 4.0])


@pytest.mark.parametrize(("name", "expected"), [("mae", [3, 1]), ("mse", [3, 1]), ("huber", [1.5, 0.5])])
def test_a_prediction_above_the_truth_may_cost_more(name, expected):
    value, y = torch.tensor([[[10.0]], [[-10.0]]]), torch.zeros(2, 1)
    found, weights = per_value(name, network(), value, y, torch.ones(2), over=3.0)
    assert found.flatten().tolist() == expected and weights.flatten().tolist() == [1, 1]


def test_padding_counts_for_nothing():
    assert mean("mae", [[10.0], [9e9]], [[0.0], [0.0]], [1.0, 0.0]) == pytest.approx(1.0)


def test_a_prediction_that_is_no_number_is_not_hidden():
    assert torch.tensor(mean("mae", [[NAN]], [[0.0]], [1.0])).isnan()


def test_pinball_of_the_median_is_the_absolute_error():
    assert each("quantile", "quantiles", [[7.0]], [27.0], levels=(0.5,)) == pytest.approx([2.0])


def test_pinball_costs_more_on_the_far_side():
    # truth 10 beyond the end: 0.9 of an error above, 0.1 of one below; the median is 20 and 10 off
    high = each("quantile", "quantiles", [[-10.0, 0.0, 10.0]], [20.0], levels=(0.1, 0.5, 0.9))
    assert high == pytest.approx([2 * (0.1 * 3 + 0.5 * 2 + 0.9 * 1) / 3])


def test_poisson_is_the_negative_log_likelihood():
    found = each("poisson", "poisson", [[2.5], [2.5], [0.1]], [0.0, 4.0, 1.0])
    assert found == pytest.approx((-stats.poisson.logpmf([0, 4, 1], [2.5, 2.5, 0.1])).tolist(), rel=1e-5)


def test_negative_binomial_is_the_negative_log_likelihood():
    mean, dispersion = np.array([2.5, 2.5, 30.0]), np.array([0.5, 2.0, 0.1])
    expected = -stats.nbinom.logpmf([0, 4, 41], 1 / dispersion, 1 / (1 + dispersion * mean))
    parameters = np.stack([mean, dispersion], axis=1).astype(np.float32).tolist()
    assert each("negative_binomial", "negative_binomial", parameters, [0.0, 4.0, 41.0]) == pytest.approx(
        expected.tolist(), rel=1e-4
    )


def test_binary_losses_agree_where_nothing_is_right_and_focal_is_the_smaller_else():
    bce, focal = (each(name, "probability", [[0.0], [5.0], [-5.0]], [1.0, 1.0, 1.0]) for name in ("bce", "focal"))
    assert bce == pytest.approx([np.log(2), np.log1p(np.exp(-5)), np.log1p(np.exp(5))], rel=1e-5)
    assert focal[0] == pytest.approx(bce[0] / 4) and focal[1] < bce[1] / 1e4
    assert focal[2] == pytest.approx(bce[2], rel=0.02)


def test_cross_entropy_is_the_log_of_the_share():
    found = each("cross_entropy", "classes", [[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]], [2.0, 0.0], classes=("a", "b", "c"))
    assert found == pytest.approx([np.log(3), np.log1p(2 * np.exp(-9))], rel=1e-3)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "residual"])
def test_unknown_targets_and_padding_cost_nothing_and_leave_gradients_finite(name):
    head = HEAD_OF.get(name, "point")
    shape = {"quantiles": {"levels": (0.1, 0.5, 0.9)}, "classes": {"classes": ("a", "b")}}.get(head, {})
    made = network(head, steps=2, **shape)
    x, y = torch.randn(3, 3, 1), torch.tensor([[1.0, NAN], [0.0, 1.0], [NAN, NAN]])
    total, weights = sums(name, made, made(x, torch.zeros(3, dtype=torch.int64)), y, torch.tensor([1.0, 0.0, 1.0]))
    total.backward()
    assert weights.item() == 1 and total.item() >= 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_a_detector_learns_from_windows_whose_truth_is_unknown_and_not_from_padding():
    parameters = torch.tensor([[[0.5, 4.0]], [[0.5, NAN]]], requires_grad=True)  # a health index and a residual
    total, weights = sums("residual", network(), parameters, torch.tensor([[NAN], [NAN]]), torch.tensor([1.0, 0.0]))
    total.backward()
    assert (total.item(), weights.item()) == (4.0, 1.0)
    assert parameters.grad.flatten().tolist() == [0, 1, 0, 0]


def test_every_loss_has_a_place_in_the_configuration():
    from typing import get_args

    from nightmill.config.usecase import Loss

    assert set(get_args(Loss)) == set(LOSSES) and set(HEAD_OF) | set(LIMITS) <= set(LOSSES)
