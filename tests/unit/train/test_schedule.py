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


def test_a_single_step_has_a_learning_rate():
    assert learning_rate("one_cycle", 0.02, 0, 1) == 0.02
