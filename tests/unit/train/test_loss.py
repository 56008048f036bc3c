"""Losses over known targets only, in units of the target's deviation."""

import pytest
import torch

from nightmill.train.loss import sums

NAN = float("nan")
TEN = torch.tensor(10.0)


def mean(name, value, y, weight):
    total, weights = sums(name, torch.tensor(value), torch.tensor(y), torch.tensor(weight), TEN)
    return (total / weights).item()


@pytest.mark.parametrize(("name", "expected"), [("mae", 2.0), ("mse", 5.0), ("huber", 1.5)])
def test_errors_count_in_deviations(name, expected):
    assert mean(name, [[10.0], [30.0]], [[0.0], [0.0]], [1.0, 1.0]) == pytest.approx(expected)


def test_an_unknown_target_has_neither_loss_nor_gradient():
    value = torch.tensor([[1.0, 2.0]], requires_grad=True)
    total, weights = sums("mse", value, torch.tensor([[NAN, 0.0]]), torch.ones(1), torch.tensor(1.0))
    (total / weights).backward()
    assert (total.item(), weights.item(), value.grad.tolist()) == (4.0, 1.0, [[0.0, 4.0]])


def test_padding_counts_for_nothing():
    assert mean("mae", [[10.0], [9e9]], [[0.0], [0.0]], [1.0, 0.0]) == pytest.approx(1.0)


def test_a_prediction_that_is_no_number_is_not_hidden():
    assert torch.tensor(mean("mae", [[NAN]], [[0.0]], [1.0])).isnan()
