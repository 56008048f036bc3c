"""Learning rates are those of torch's OneCycleLR, but without a state."""

import pytest
import torch

from nightmill.train.schedule import learning_rate


def test_constant_is_constant():
    assert {learning_rate("constant", 0.1, step, 50) for step in range(50)} == {0.1}


def test_one_cycle_equals_torchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.02, total_steps=41)
    for step in range(41):
        assert learning_rate("one_cycle", 0.02, step, 41) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        if step < 40:
            theirs.step()


def test_cosine_goes_up_in_a_line_and_down_to_nothing():
    rates = [learning_rate("cosine", 1.0, step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1.0 and all(later < earlier for earlier, later in zip(rates[5:], rates[6:]))
    assert rates[5 + 95 // 2] == pytest.approx(0.5, abs=0.02) and 0 < rates[-1] < 0.001


def test_a_single_step_has_a_learning_rate():
    assert learning_rate("one_cycle", 0.02, 0, 1) == 0.02
