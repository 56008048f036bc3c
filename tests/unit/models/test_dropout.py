"""Dropout's statistics, and that it follows torch's seed."""

import pytest
import torch

from nightmill.models.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.999])
def test_a_share_is_zeroed_and_the_mean_stays(share):
    torch.manual_seed(0)
    layer, x = Dropout(share).train(), torch.ones(1000, 1001)
    y = layer(x)
    assert (y == 0).float().mean().item() == pytest.approx(share, abs=0.002)
    assert y.mean().item() == pytest.approx(1, abs=4 * (share / (1 - share) / x.numel()) ** 0.5)
    assert len(y.unique()) == 2
    assert (y == 0).float().mean(0).std().item() < 0.05 and (y == 0).float().mean(1).std().item() < 0.05, "all over"


def test_a_share_next_to_all_keeps_next_to_nothing():
    y = Dropout(0.9999999).train()(torch.ones(1000, 1000))
    assert y.isfinite().all() and (y != 0).float().mean() < 1e-3


def test_gradients_go_where_values_went():
    x = torch.randn(50, 7, requires_grad=True)
    y = Dropout(0.4).train()(x)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    assert torch.allclose(y, x * x.grad)


def test_the_same_seed_draws_the_same_and_each_call_another():
    layer, x = Dropout(0.5).train(), torch.ones(3, 5, 7)
    draws = []
    for seed in (1, 1, 2):
        torch.default_generator.manual_seed(seed)
        draws.append([layer(x), layer(x)])
    assert torch.equal(draws[0][0], draws[1][0]) and torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[0][1]) and not torch.equal(draws[0][0], draws[2][0])


def test_in_scoring_and_without_a_share_nothing_changes():
    x = torch.randn(4, 4)
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0).train()(x) is x
    assert torch.equal(Dropout(1.0).train()(x), torch.zeros(4, 4))


def test_half_precision_stays_half():
    x = torch.ones(64, 64, dtype=torch.bfloat16)
    assert Dropout(0.25).train()(x).dtype == torch.bfloat16
